package edge

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// teller is a relay that tells its servers of clients.
type teller struct{ upstream.Relay }

func (teller) Identifies() bool { return true }

// TestIdentity: what a server is told of a client's name says what is known of it, and no more.
func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		name string
		ptr  string
		fact *auth.IPRevResult
		want mail.Client
	}{
		{"confirmed", "mx.example", &auth.IPRevResult{Result: auth.Pass, Name: "mx.example"}, mail.Client{Name: "mx.example", Reverse: "mx.example"}},
		{"leads elsewhere", "", &auth.IPRevResult{Result: auth.Fail, Published: "a.example"}, mail.Client{Reverse: "a.example", Nameless: true}},
		{"no name", "", &auth.IPRevResult{Result: auth.PermError}, mail.Client{Nameless: true}},
		{"could not be asked for", "", &auth.IPRevResult{Result: auth.TempError, Published: "a.example"}, mail.Client{Reverse: "a.example"}},
		{"not asked for", "", nil, mail.Client{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:4711"), Helo: "client", User: "bob", PTR: c.ptr}
			if c.fact != nil {
				in.Record(auth.IPRev.Of(*c.fact))
			}
			s := &session{in: in}
			c.want.Addr, c.want.Helo, c.want.Login = in.Client, in.Helo, in.User
			if diff := cmp.Diff(&c.want, s.identity(teller{}), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
