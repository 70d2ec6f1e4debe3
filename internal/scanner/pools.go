package scanner

import (
	"runtime"
	"weak"
)

// ref is a pool that is known as long as a filter has it.
type ref = weak.Pointer[Pool]

func (ps *Pools) get(key string) *Pool { return ps.known[key].Value() }

// put makes a pool known. When nobody has it any more its entry goes, and with it the connections that it kept.
func (ps *Pools) put(key string, p *Pool) {
	if ps.known == nil {
		ps.known = map[string]ref{}
	}
	r := weak.Make(p)
	ps.known[key] = r
	runtime.AddCleanup(p, func(servers []*Server) {
		ps.mu.Lock()
		if ps.known[key] == r {
			delete(ps.known, key)
		}
		ps.mu.Unlock()
		for _, s := range servers {
			s.mu.Lock()
			if s.client != nil {
				s.client.CloseIdleConnections()
			}
			s.mu.Unlock()
		}
	}, p.servers)
}
