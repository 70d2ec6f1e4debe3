package spf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// The conformance suites of RFC 7208 and RFC 4408 stand beside the repository, not in it. Each case goes through the
// filter's Check and internal/dns to a DNS server that holds the scenario's zone data. Of the RFC 4408 suite each result
// must be one that it allows; where it is not the one that is named first, it is listed in testdata/rfc4408.differing, and
// explained in docs/filters/spf.md.

type suiteCase struct {
	Helo        string `yaml:"helo"`
	Host        string `yaml:"host"`
	MailFrom    string `yaml:"mailfrom"`
	Result      any    `yaml:"result"` // a word or a list of words
	Explanation string `yaml:"explanation"`
}

type scenario struct {
	Description string               `yaml:"description"`
	Tests       map[string]suiteCase `yaml:"tests"`
	ZoneData    map[string][]any     `yaml:"zonedata"`
}

func TestRFC7208Suite(t *testing.T) {
	if ran := runSuite(t, "rfc7208-tests.yml", nil); ran != 203 {
		t.Errorf("%d cases were read, not 203", ran)
	}
}

func TestRFC4408Suite(t *testing.T) {
	listed := readList(t, "testdata/rfc4408.differing")
	doc, err := os.ReadFile("../../docs/filters/spf.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range listed {
		if !strings.Contains(string(doc), "| `"+name+"` |") {
			t.Errorf("%s differs, and docs/filters/spf.md does not say why", name)
		}
	}
	if ran := runSuite(t, "rfc4408-tests.yml", listed); ran != 191 {
		t.Errorf("%d cases were read, not 191", ran)
	}
	for name := range listed {
		t.Errorf("%s is listed, and does not differ", name)
	}
}

// runSuite runs the cases of a file. With a list, the first of several results that a case allows is the one that is
// wanted, but for those on the list; they are taken off it.
func runSuite(t *testing.T, file string, listed map[string]string) (ran int) {
	t.Helper()
	passed, explained, ours, notes := 0, 0, 0, []string{}
	for _, s := range readScenarios(t, filepath.Join(peertest.Shared(t, "suites/spf/rfc-suite"), file)) {
		c := newSuiteCheck(t, s.ZoneData)
		for name, sc := range s.Tests {
			ran++
			got, whole := c.run(t, sc)
			allowed := words(sc.Result)
			if slices.Contains(allowed, string(got.Result)) {
				passed++
			} else {
				t.Errorf("%s (%s): got %s (%s), want %v", name, s.Description, got.Result, got.Reason, sc.Result)
			}
			if listed != nil && string(got.Result) != allowed[0] {
				if listed[name] != string(got.Result) {
					t.Errorf("%s: got %s; %s is wanted first, and the list does not have it", name, got.Result, allowed[0])
				}
				delete(listed, name)
			}
			if !whole {
				notes = append(notes, name)
			}
			if sc.Explanation != "" && got.Result == auth.Fail {
				explained++
				// The suite writes the nibbles of an IPv6 address as RFC 4408 8.2 did, in upper case; RFC 7208 7.4 has
				// lower case.
				if want := strings.ReplaceAll(sc.Explanation, "DEFAULT", ""); strings.EqualFold(got.Explanation, want) {
					ours++
				} else {
					t.Errorf("%s: explanation %q, want %q", name, got.Explanation, want)
				}
			}
		}
	}
	slices.Sort(notes)
	t.Logf("%s: %d of %d results, %d of %d explanations; without Check, as no session has such an address: %s",
		file, passed, ran, ours, explained, strings.Join(notes, ", "))
	return ran
}

// suiteCheck is the filter before the DNS server of one scenario.
type suiteCheck struct{ *check }

func newSuiteCheck(t *testing.T, data map[string][]any) suiteCheck {
	t.Helper()
	s, err := zone.ServeRecords(suiteRecords(data))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	r.SetTimeout(time.Minute)
	_, f := build(t, r, "")
	return suiteCheck{f.(*check)}
}

// run checks a case; it reports false where the reverse-path is one that no session lets through, so that the
// evaluation had to be called in the place of Check.
func (c suiteCheck) run(t *testing.T, sc suiteCase) (auth.SPFResult, bool) {
	t.Helper()
	client := netip.MustParseAddr(sc.Host)
	in := &filter.Input{
		Session:     &filter.Session{Client: netip.AddrPortFrom(client, 4321), Helo: sc.Helo},
		Transaction: &filter.Transaction{},
	}
	local, domain := "", ""
	if at := strings.LastIndexByte(sc.MailFrom, '@'); at >= 0 {
		local, domain = sc.MailFrom[:at], sc.MailFrom[at+1:]
	}
	for _, path := range []string{sc.MailFrom, `"` + local + `"@` + domain} {
		if a, err := mail.ParseAddress(path); err == nil {
			in.Transaction.From = a
			break
		}
	}
	if sc.MailFrom != "" && in.Transaction.From.IsZero() {
		id := identity{kind: "mailfrom", local: local, domain: domain}
		if local == "" {
			id.local = "postmaster"
		}
		r, err := c.examine(t.Context(), t.Context(), client.Unmap(), sc.Helo, id)
		if err != nil {
			t.Fatal(err)
		}
		return r, false
	}
	got, err := c.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := auth.SPF.Among(got.Facts)
	return r, true
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

// suiteRecords makes records of a scenario's zone data. An entry of a name is a record, or TIMEOUT, which holds for the
// types that the name has no record of; it is served as SERVFAIL, which is the same to whoever asks and takes no time.
// SPF entries count as TXT unless the name has a TXT entry, be it NONE.
func suiteRecords(data map[string][]any) (all []zone.Record) {
	for name, entries := range data {
		has := map[string]bool{}
		var records []zone.Record
		fails := false
		for _, e := range entries {
			m, isRecord := e.(map[string]any)
			fails = fails || !isRecord
			for kind, value := range m {
				has[kind] = true
				if value != "NONE" {
					records = append(records, suiteRecord(name, kind, value))
				}
			}
		}
		served := map[string]bool{}
		for _, r := range records {
			if r.Type == "SPF" && !has["TXT"] {
				r.Type = "TXT"
			}
			served[r.Type] = true
			all = append(all, r)
		}
		for _, kind := range []string{"TXT", "MX", "A", "AAAA", "PTR"} {
			if fails && !served[kind] {
				all = append(all, zone.Record{Name: name, Type: kind, Fault: "SERVFAIL"})
			}
		}
	}
	return all
}

func suiteRecord(name, kind string, value any) zone.Record {
	r := zone.Record{Name: name, Type: kind}
	switch kind {
	case "TXT", "SPF":
		r.Text = words(value)
	case "MX":
		r.Pref = uint16(value.([]any)[0].(uint64))
		r.Host = value.([]any)[1].(string)
	case "PTR", "CNAME":
		r.Host = value.(string)
	default:
		r.Value = value.(string)
	}
	return r
}
