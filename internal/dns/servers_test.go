package dns

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for _, c := range []struct {
		name, text string
		want       []server
	}{
		{"several", "search corp.test\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n", []server{{"192.0.2.1:53", false}, {"[2001:db8::1]:53", false}}},
		{"loopback is not trusted", "nameserver 127.0.0.11\n", []server{{"127.0.0.11:53", false}}},
		{"unless it says so", "nameserver 127.0.0.53\noptions edns0 trust-ad\n", []server{{"127.0.0.53:53", true}}},
		{"words of other lines", "nameserver 127.0.0.53\nsearch trust-ad\n# options trust-ad\n", []server{{"127.0.0.53:53", false}}},
		{"a zone", "nameserver fe80::1%eth0\n", []server{{"[fe80::1%eth0]:53", false}}},
		{"none", "# nameserver 192.0.2.1\nnameserver ns.example\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readResolvConf(path)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

// TestResolvConfChanges are noticed, and what can't be read changes nothing.
func TestResolvConfChanges(t *testing.T) {
	s := &servers{path: filepath.Join(t.TempDir(), "resolv.conf")}
	first := func(want string) {
		t.Helper()
		if got := s.list()[0].address; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	first("127.0.0.1:53")
	write := func(text string) {
		if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nameserver 192.0.2.1\n")
	first("127.0.0.1:53") // looked at a moment ago
	s.looked = time.Now().Add(-rereadAfter)
	first("192.0.2.1:53")
	s.first.Store(1)
	write("nameserver 192.0.2.22\n")
	s.looked = time.Now().Add(-rereadAfter)
	first("192.0.2.22:53")
	if s.first.Load() != 0 {
		t.Error("what was known of the servers of before counts")
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	s.looked = time.Now().Add(-rereadAfter)
	first("192.0.2.22:53")
}
