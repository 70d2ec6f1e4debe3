package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
)

func TestFailure(t *testing.T) {
	for _, c := range []struct {
		name     string
		err      error
		notFound bool
		want     string
	}{
		{"no such name", (&answer{rcode: NXDomain}).err("a.example"), true, "server failure"},
		{"no such record", fmt.Errorf("spf: %w", (&answer{rcode: NoData}).err("a.example")), true, "server failure"},
		{"silence", (&answer{rcode: TimedOut, server: "10.0.0.53:53"}).err("a.example"), false, "no answer"},
		{"nobody waits", context.DeadlineExceeded, false, "no answer"},
		{"servfail", (&answer{rcode: ServFail, server: "10.0.0.53:53"}).err("a.example"), false, "server failure"},
		{"budget", (&answer{rcode: Canceled, cause: ErrBudget}).err("a.example"), false, "the check has asked enough"},
		{"of the network", &net.DNSError{Err: "dial udp 10.0.0.53:53", Server: "10.0.0.53:53"}, false, "server failure"},
		{"not of the DNS", errors.New("10.0.0.53 burns"), false, "server failure"},
		{"none", nil, false, "server failure"},
	} {
		if got := Failure(c.err); NotFound(c.err) != c.notFound || got != c.want {
			t.Errorf("%s: %q, not found: %v", c.name, got, NotFound(c.err))
		}
	}
}
