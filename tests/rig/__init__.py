"""The test rig: real parts (etcd, Docker, Chromium, our own processes) and virtual time, as pytest fixtures.

Every fixture here is global (`tests/conftest.py` exports it): name it as a test argument. What a fixture starts, it
starts on private ports, sockets and folders, and ends by process id. A test that needs a part which cannot be had is
skipped; one line at the end of the run says so, and where `CI` is set the run fails.

Each test folder is a package (has an `__init__.py`), so that `from tests.rig.ports import free_port` works and two
folders may have files of the same name. Asynchronous tests and fixtures need no marker (asyncio_mode is "auto").

Event loops (a marker on the test, its class or its module)
    (none)                        the standard library's loop, real time
    @pytest.mark.virtual_time     time jumps to the next timer when nothing is ready: `sleep(3600)` is instant and
                                  exact; `asyncio.get_running_loop().time()` starts at 1000.0. No real sockets.
    @pytest.mark.uvloop           runs on uvloop
    @pytest.mark.any_loop         runs twice: on the standard library's loop and on uvloop

Fixtures
    processes: ProcessRack        real child processes. At the end all are ended; the test fails when one died early
                                  or left a Python traceback.
        gogeta = processes.start("gogeta", "serve", "--listen", f"127.0.0.1:{port}")   # a console script of ours
        processes.python("-m", "http.server", str(port), cwd=site)                     # or any program by its path
        gogeta.wait_for_port(port); gogeta.wait_for_line("listening"); gogeta.output()
        processes.run("gogeta", "tenants", "-o", "json")   # to its end: .returncode, .stdout, .stderr
        gogeta.terminate() (SIGTERM), .kill(), .pause(), .resume(); assert gogeta.wait(timeout=10) == 0

    etcd: EtcdServer              one node, empty and healthy at the start of each test.
        registry_url = etcd.registry_url                  # "etcd://127.0.0.1:PORT"; also .endpoint, .port
        etcd.kill(); etcd.start(); etcd.pause(); etcd.resume(); etcd.stop()            # start waits until healthy
        etcd.call("/v3/kv/put", {...}); etcd.put("a", "b"); etcd.get("a"); etcd.wipe(); etcd.compact()

    etcd_cluster: EtcdCluster     three nodes, empty and healthy at the start of each test.
        etcd_cluster.registry_url; etcd_cluster.members[0].kill(); etcd_cluster.leader().pause()

    make_etcd: EtcdFactory        further servers of a test's own, ended with the test.
        server = make_etcd(tls=True, client_auth=True)    # .ca_file, .client_certificate (cert_file, key_file)
        server = make_etcd(users={"root": "secret"}, extra_args=["--auth-token-ttl=2"])

    make_relay: Callable[[int], FaultRelay]   relays with faults, in front of a port; for half-open and broken paths.
        relay = make_relay(etcd.port); relay.port
        relay.cut(); relay.cut_after(5000); relay.freeze(); relay.delay(0.2); relay.refuse(); relay.restore()

    certificates: CertificateAuthority   throw-away CA: .ca_file, .issue("127.0.0.1", "localhost") -> KeyPair

    docker: DockerEngine          an engine of its own. Containers and networks made by the test go when it ends.
        docker.url                # "unix:///…/docker.sock", for aiodocker.Docker(url); also .socket
        docker.run("bb:1", "httpd", "-f", "-p", "80", name="t1", options={...})        # -> container id
        docker.request("GET", "/containers/json"); docker.address("t1"); docker.state("t1"); docker.logs("t1")
        docker.pause(); docker.resume(); docker.kill(); docker.start()                 # the engine itself
        Images, made from nothing: `bb:1` (static busybox: sh, httpd, nc ...), and with
        the fixture python_image: str   # "py:1": this Python with aiohttp, for applications with WebSockets

    chromium: Chromium            headless browser; `*.localhost` names lead to loopback by themselves.
        async with chromium.page() as page:
            await page.navigate("http://acme.localhost:8080/")
            await page.wait_for_text("Hello", timeout=20)   # across reloads; also .title(), .text(), .screenshot(path)

Prometheus (tests.rig.prometheus)
    promtool("check", "metrics", given=text)              # -> .returncode, .stdout, .stderr
    Prometheus(processes, folder, {"gogeta": admin_port}, rules)   # scrapes twice a second; .query(), .until_firing()

Plain functions
    tests.rig.ports.free_port() -> int                    # never handed out twice, by no run on this machine
    tests.rig.ports.wait_for_port(port, timeout=10)
"""
