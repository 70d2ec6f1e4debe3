package queue

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/postern-mail/postern/internal/spool"
)

// TestClient: of a message that waited a server is told all that it would have been told at once.
func TestClient(t *testing.T) {
	c := client(&spool.Entry{User: "bob", Client: spool.Client{
		Addr: netip.MustParseAddrPort("192.0.2.1:4711"), Server: netip.MustParseAddrPort("192.0.2.25:25"),
		Name: "mx.example", Reverse: "mx.example", Nameless: true, Helo: "client.example", ESMTP: true,
	}})
	for v, i := reflect.ValueOf(*c), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is lost", v.Type().Field(i).Name)
		}
	}
}
