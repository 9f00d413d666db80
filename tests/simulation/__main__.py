import sys, time
from tests.simulation.life import live
import gc; gc.collect(); gc.freeze()
a=int(sys.argv[1]); b=int(sys.argv[2]); tr=len(sys.argv)>3
t=time.time()
import collections, gc
tot=collections.Counter(); bad=0
for s in range(a,b):
    o=live(s,50,tracing=tr)
    tot.update(o.counts)
    if tr: print("\n".join(o.trace))
    if o.violations:
        bad+=1
        print(s, o.violations[:2], f"{o.seconds:.0f}s", o.calls)
print(bad, "bad of", b-a, "in", time.time()-t)
print(sorted(tot.items()))
