package spf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/internal/peertest"
)

// The conformance suites of RFC 4408 and RFC 7208 stand beside the repository, not in it. What fails is
// listed in testdata/rfc-suite.failing, with the result that comes out instead; a case that fails and is not
// listed, or is listed and does not fail in that way, fails the test.

type suiteCase struct {
	Helo     string `yaml:"helo"`
	Host     string `yaml:"host"`
	MailFrom string `yaml:"mailfrom"`
	Result   any    `yaml:"result"` // a word or a list of words
}

type scenario struct {
	Description string               `yaml:"description"`
	Tests       map[string]suiteCase `yaml:"tests"`
	ZoneData    map[string][]any     `yaml:"zonedata"`
}

func TestRFCSuites(t *testing.T) {
	folder := peertest.Shared(t, "suites/spf/rfc-suite")
	listed := readList(t, "testdata/rfc-suite.failing")
	doc, err := os.ReadFile("../../docs/filters/spf.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"rfc7208-tests.yml", "rfc4408-tests.yml"} {
		ran, passed := 0, 0
		for _, s := range readScenarios(t, filepath.Join(folder, file)) {
			dns := newSuiteDNS(s.ZoneData)
			for name, c := range s.Tests {
				ran++
				key := strings.TrimSuffix(file, "-tests.yml") + "/" + name
				got := runCase(t, dns, c)
				want, isListed := listed[key]
				delete(listed, key)
				ok := slices.Contains(words(c.Result), got)
				switch {
				case ok && isListed:
					t.Errorf("%s passes now: take it off the list", key)
				case !ok && !isListed:
					t.Errorf("%s (%s): got %s, want %v", key, s.Description, got, c.Result)
				case !ok && got != want:
					t.Errorf("%s is listed to give %s, and gives %s", key, want, got)
				case !ok && !strings.Contains(string(doc), "`"+name+"`"):
					t.Errorf("%s fails, and docs/filters/spf.md does not say so", key)
				}
				if ok {
					passed++
				}
			}
		}
		t.Logf("%s: %d of %d pass", file, passed, ran)
		if ran < 150 {
			t.Errorf("%s: only %d cases were read", file, ran)
		}
	}
	for key := range listed {
		t.Errorf("%s is listed, and is no case", key)
	}
}

// runCase hands a case to the evaluation as Check would; its addresses are often ones that no session lets
// through.
func runCase(t *testing.T, dns *suiteDNS, c suiteCase) string {
	t.Helper()
	id := identity{kind: "helo", local: "postmaster", domain: c.Helo}
	if c.MailFrom != "" {
		at := strings.LastIndex(c.MailFrom, "@")
		id = identity{kind: "mailfrom", local: c.MailFrom[:max(at, 0)], domain: c.MailFrom[at+1:]}
	}
	client, err := netip.ParseAddr(c.Host)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := evaluate(t.Context(), dns, client, c.Helo, id)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func readScenarios(t *testing.T, path string) []scenario {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []scenario
	for dec := yaml.NewDecoder(f, yaml.AllowDuplicateMapKey()); ; {
		var s scenario
		err := dec.Decode(&s)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, s)
	}
}

func readList(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list := map[string]string{}
	for in := bufio.NewScanner(f); in.Scan(); {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, result, _ := strings.Cut(line, " ")
		list[key] = strings.TrimSpace(result)
	}
	return list
}

func words(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, fmt.Sprint(x))
		}
		return all
	}
	return nil
}

// suiteDNS answers from a scenario's zone data: an entry of a name is TIMEOUT, which holds for the types that
// the name has no entry of, or a record. SPF entries count as TXT unless the name has a TXT entry, be it
// NONE.
type suiteDNS struct {
	records map[string]map[string][]any
	timeout map[string]bool
}

func newSuiteDNS(zones map[string][]any) *suiteDNS {
	d := &suiteDNS{records: map[string]map[string][]any{}, timeout: map[string]bool{}}
	for name, entries := range zones {
		name = strings.ToLower(name)
		types := map[string][]any{}
		for _, e := range entries {
			m, isRecord := e.(map[string]any)
			if !isRecord {
				d.timeout[name] = true
				continue
			}
			for kind, value := range m {
				types[kind] = append(types[kind], value)
			}
		}
		if _, has := types["TXT"]; !has && types["SPF"] != nil {
			types["TXT"] = types["SPF"]
		}
		for kind, values := range types {
			types[kind] = slices.DeleteFunc(values, func(v any) bool { return v == "NONE" })
		}
		d.records[name] = types
	}
	return d
}

func (d *suiteDNS) ask(name, kind string) ([]any, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for range 10 {
		types := d.records[name]
		if rrs, has := types[kind]; has && len(rrs) > 0 {
			return rrs, nil
		}
		if alias := types["CNAME"]; len(alias) > 0 {
			name = strings.ToLower(alias[0].(string))
			continue
		}
		if d.timeout[name] {
			return nil, &net.DNSError{Err: "time-out", Name: name, IsTimeout: true, IsTemporary: true}
		}
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return nil, &net.DNSError{Err: "loop", Name: name, IsTemporary: true}
}

func (d *suiteDNS) LookupTXT(_ context.Context, name string) ([]string, error) {
	rrs, err := d.ask(name, "TXT")
	var all []string
	for _, rr := range rrs {
		all = append(all, strings.Join(words(rr), ""))
	}
	return all, err
}

func (d *suiteDNS) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	rrs, err := d.ask(name, "MX")
	var all []*net.MX
	for _, rr := range rrs {
		all = append(all, &net.MX{Host: rr.([]any)[1].(string)})
	}
	return all, err
}

func (d *suiteDNS) LookupIPAddr(_ context.Context, name string) ([]net.IPAddr, error) {
	var all []net.IPAddr
	var failed error
	for _, kind := range []string{"A", "AAAA"} {
		rrs, err := d.ask(name, kind)
		var de *net.DNSError
		if errors.As(err, &de) && (failed == nil || !de.IsNotFound) {
			failed = err
		}
		for _, rr := range rrs {
			all = append(all, net.IPAddr{IP: net.ParseIP(rr.(string))})
		}
	}
	var de *net.DNSError
	if errors.As(failed, &de) && de.IsNotFound && len(all) > 0 {
		failed = nil
	}
	return all, failed
}

func (d *suiteDNS) LookupAddr(_ context.Context, addr string) ([]string, error) {
	rrs, err := d.ask(reverseName(netip.MustParseAddr(addr)), "PTR")
	var all []string
	for _, rr := range rrs {
		all = append(all, rr.(string)+".")
	}
	return all, err
}

func reverseName(a netip.Addr) string {
	var labels []string
	suffix := "in-addr.arpa"
	for _, b := range a.AsSlice() {
		if a.Is4() {
			labels = append(labels, fmt.Sprint(b))
		} else {
			suffix = "ip6.arpa"
			labels = append(labels, fmt.Sprintf("%x", b>>4), fmt.Sprintf("%x", b&15))
		}
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "." + suffix
}
