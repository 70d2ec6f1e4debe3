package senders

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/filter/spf"
	"github.com/postern-mail/postern/mail"
)

// asFilter is a fakeDNS as filters see it.
type asFilter struct{ *fakeDNS }

func (a asFilter) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return a.find(ctx, name, "TXT")
}

func (a asFilter) LookupAddr(context.Context, string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such name", IsNotFound: true}
}

// TestAgreesWithSPF: of records without what can't be listed, the addresses that are found are those that the filter spf
// gives pass.
func TestAgreesWithSPF(t *testing.T) {
	addresses := make([]netip.Addr, 0, 40)
	for i := range 32 {
		addresses = append(addresses, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	for i := range 8 {
		addresses = append(addresses, netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: byte(i)}))
	}
	const names = 4
	agreed, failed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d := newDNS()
		pick := rapid.SampledFrom(addresses)
		other := func(i int) string {
			if i == names-1 {
				return "h.example"
			}
			return fmt.Sprintf("n%d.example", rapid.IntRange(i+1, names-1).Draw(t, "name"))
		}
		for range rapid.IntRange(0, 2).Draw(t, "hosts") {
			d.add("h.example A " + pick.Draw(t, "host").String())
		}
		d.add("h.example MX h.example.")
		for i := range names {
			text := fmt.Sprintf("n%d.example TXT v=spf1", i)
			for range rapid.IntRange(0, 4).Draw(t, "terms") {
				text += " " + rapid.SampledFrom([]string{"", "", "", "+", "-", "~", "?"}).Draw(t, "qualifier")
				switch rapid.IntRange(0, 9).Draw(t, "mechanism") {
				case 0:
					text += fmt.Sprintf("a:h.example/%d//%d", rapid.IntRange(28, 32).Draw(t, "4"), rapid.IntRange(125, 128).Draw(t, "6"))
				case 1:
					text += fmt.Sprintf("mx:h.example/%d", rapid.IntRange(28, 32).Draw(t, "4"))
				case 2, 3:
					if i == names-1 {
						text += "ip4:192.0.2.1"
					} else {
						text += "include:" + other(i)
					}
				default:
					a := pick.Draw(t, "network")
					kind := "ip4"
					if a.Is6() {
						kind = "ip6"
					}
					text += fmt.Sprintf("%s:%s/%d", kind, a, a.BitLen()-rapid.IntRange(0, 4).Draw(t, "bits"))
				}
			}
			switch rapid.IntRange(0, 3).Draw(t, "end") {
			case 0:
				if i < names-1 {
					text += " redirect=" + other(i)
				}
			case 1:
				text += " -all"
			case 2:
				text += " ?all ip4:192.0.2.2"
			}
			d.add(text)
		}
		found, _, err := expand(t.Context(), d, "n0.example")
		if err != nil && !strings.Contains(err.Error(), "names no network") {
			failed++
			return // a limit, or what the filter calls permerror
		}
		x := newIndex([]string{"big"}, []set{found})
		_, f, err := spf.Factory.New(filter.Env{Name: "spf", DNS: asFilter{d}, Log: slog.New(slog.DiscardHandler)}, func(any) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		from, _ := mail.ParseAddress("a@n0.example")
		for _, a := range addresses {
			r, err := f.Check(t.Context(), &filter.Input{Phase: filter.Mail, Session: &filter.Session{Client: netip.AddrPortFrom(a, 1), Helo: "[192.0.2.1]"}, Transaction: &filter.Transaction{From: from}})
			if err != nil {
				t.Fatal(err)
			}
			got, _ := auth.SPF.Among(r.Facts)
			if got.Result == auth.PermError || got.Result == auth.TempError {
				continue // of more look-ups than RFC 7208 allows
			}
			if (got.Result == auth.Pass) != (x.of(a) != "") {
				t.Fatalf("%s: spf says %s (%s), found %s in\n%v", a, got.Result, got.Reason, found, d.records)
			}
			agreed++
		}
	})
	if agreed < 1000 || failed > agreed/40 {
		t.Errorf("agreed on %d addresses, could not expand %d times", agreed, failed)
	}
}
