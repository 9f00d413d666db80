// Go's httputil.ReverseProxy as one would tune it: reverse_proxy LISTEN UPSTREAM.
//
// The standard library's transport keeps two idle connections to a host; here as many as there are visitors. Buffers
// are pooled and nothing is compressed or decompressed on the way.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: reverse_proxy LISTEN UPSTREAM")
	}
	upstream := &url.URL{Scheme: "http", Host: os.Args[2]}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			MaxIdleConns:        0,
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     time.Hour,
			DisableCompression:  true,
			ReadBufferSize:      16 << 10,
			WriteBufferSize:     16 << 10,
		},
		BufferPool: &buffers{sync.Pool{New: func() any { p := make([]byte, 64<<10); return &p }}},
	}
	server := &http.Server{Addr: os.Args[1], Handler: proxy, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Hour}
	log.Fatal(server.ListenAndServe())
}
