package app

import (
	"net/netip"
	"testing"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/metrics"
)

// TestResolverOutlivesReload: the same servers keep the resolver and its cache, others make a new one, and a
// configuration that is not taken changes nothing.
func TestResolverOutlivesReload(t *testing.T) {
	r := &resolvers{observer: metrics.New(metrics.Options{})}
	with := func(servers ...string) *config.Config {
		cfg := new(config.Config)
		for _, s := range servers {
			cfg.DNS.Servers = append(cfg.DNS.Servers, netip.MustParseAddrPort(s))
		}
		return cfg
	}
	first, adopt, err := r.forConfig(with("127.0.0.1:53"))
	if err != nil {
		t.Fatal(err)
	}
	adopt()
	if again, _, _ := r.forConfig(with("127.0.0.1:53")); again != first {
		t.Error("the same servers have another resolver")
	}
	other, adopt, _ := r.forConfig(with("127.0.0.1:53", "127.0.0.2:53"))
	if other == first {
		t.Error("other servers have the same resolver")
	}
	if again, _, _ := r.forConfig(with("127.0.0.1:53")); again != first {
		t.Error("what was not adopted took effect")
	}
	adopt()
	if again, _, _ := r.forConfig(with("127.0.0.1:53", "127.0.0.2:53")); again != other {
		t.Error("what was adopted did not take effect")
	}
	system, adopt, _ := r.forConfig(with())
	adopt()
	if again, _, _ := r.forConfig(with()); again != system || system == other {
		t.Error("the system's servers")
	}
}
