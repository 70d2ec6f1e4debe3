//go:build accept

package accept

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest"
)

// milterDifferences say, by method, why a result of ours is another than the one that the suite expects: the suite's
// word, ours, and the reason.
var milterDifferences = []struct{ method, theirs, ours, why string }{
	{"dmarc", "pass", "permerror", "From holds `marc@ marcbradshaw.net`, of which programs read different addresses: no Author Domain is sure"},
	{"iprev", "fail", "permerror", "the client has no PTR record, which RFC 8601 2.7.3 calls permerror; fail is for names that lead elsewhere"},
}

// TestAuthenticationMilter compares the results that `postern scan --trace` writes into Authentication-Results with those
// of authentication_milter's own end-to-end set, method by method. Its methods that no RFC knows (x-…, dkim-adsp) have no
// counterpart here. Envelope and client are taken from what the set expects.
func TestAuthenticationMilter(t *testing.T) {
	folder := peertest.Shared(t, "suites/dmarc/authentication_milter")
	raw, err := os.ReadFile(filepath.Join(folder, "zonefile"))
	if err != nil {
		t.Fatal(err)
	}
	dns, err := zone.Serve(zoneText(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dns.Close() }()
	config := filepath.Join(t.TempDir(), "postern.yaml")
	text := fmt.Sprintf("hostname: server.example.com\nlisteners: {scan: {address: \"127.0.0.1:25\"}}\n"+
		"routes: [{to: [fastmail.com], upstream: none}]\nupstreams: {none: {maildir: none}}\ndns: {servers: [%q]}\n"+
		"filters: [spf, dkim, dmarc, iprev]\npolicies: {default: {tag: null}}\n", dns.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob(filepath.Join(folder, "data", "example", "*.eml"))
	if err != nil || len(examples) < 40 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	tally := map[string]*[3]int{} // by method: compared, equal, explained
	compared := 0
	for _, path := range examples {
		name := filepath.Base(path)
		want := readExample(t, path)
		if want.client == "" { // a local or trusted client, or a run that writes no field
			continue
		}
		compared++
		got := milterScan(t, config, source(t, folder, name), want)
		for _, m := range slices.Sorted(slices.Values([]string{"dkim", "dmarc", "iprev", "spf"})) {
			theirs, has := want.results[m]
			if !has {
				continue
			}
			if tally[m] == nil {
				tally[m] = new([3]int)
			}
			tally[m][0]++
			if got[m] == theirs {
				tally[m][1]++
			} else if i := slices.IndexFunc(milterDifferences, func(d struct{ method, theirs, ours, why string }) bool {
				return d.method == m && d.theirs == theirs && d.ours == got[m]
			}); i >= 0 {
				tally[m][2]++
			} else {
				t.Errorf("%s: %s=%s, want %s", name, m, got[m], theirs)
			}
		}
	}
	var rows [][]string
	for _, m := range []string{"dkim", "dmarc", "iprev", "spf"} {
		if tally[m] == nil || tally[m][0] == 0 {
			t.Fatalf("nothing was compared for %s", m)
		}
		rows = append(rows, []string{m, fmt.Sprint(tally[m][0]), fmt.Sprint(tally[m][1]), fmt.Sprint(tally[m][2])})
	}
	for _, d := range milterDifferences {
		rows = append(rows, []string{d.method + ": " + d.why, "", "", d.theirs + " → " + d.ours})
	}
	if compared < 30 {
		t.Errorf("only %d examples were compared", compared)
	}
	table(t, "Authentication-Results of authentication_milter's set", "make accept", []string{"method", "compared", "same result", "other result, explained"}, rows)
}

// example is what the set expects of one message.
type example struct {
	client, helo, from string
	results            map[string]string // by method
}

var (
	expectedField = regexp.MustCompile(`(?m)^Authentication-Results: [^;]+;((?:\n[ \t].*)+)`)
	expectedSPF   = regexp.MustCompile(`(?m)^Received-SPF: ((?:.*)(?:\n[ \t].*)+)`)
	methodResult  = regexp.MustCompile(`(?m)^\s+([a-z0-9-]+)=([a-z]+)`)
)

func readExample(t *testing.T, path string) example {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	e := example{results: map[string]string{}}
	field, spf := expectedField.FindString(text), expectedSPF.FindString(text)
	for _, m := range methodResult.FindAllStringSubmatch(field, -1) {
		if _, twice := e.results[m[1]]; !twice {
			e.results[m[1]] = m[2]
		}
	}
	property := func(in, name string) string {
		if m := regexp.MustCompile(regexp.QuoteMeta(name) + `="?([^\s";]*)`).FindStringSubmatch(in); m != nil {
			return m[1]
		}
		return ""
	}
	e.client = property(spf, "client-ip")
	if e.client == "" {
		e.client = property(field, "smtp.remote-ip")
	}
	e.from, e.helo = property(field, "smtp.mailfrom"), property(field, "smtp.helo")
	return e
}

// source gives the message that an example was made from: that of the longest name which the example's begins with.
func source(t *testing.T, folder, example string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(folder, "data", "source", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	best, length := "", 0
	for _, s := range all {
		stem := strings.TrimSuffix(filepath.Base(s), ".eml")
		if strings.HasPrefix(example, stem) && len(stem) > length {
			best, length = s, len(stem)
		}
	}
	if best == "" {
		best = filepath.Join(folder, "data", "source", "google_apps_good.eml")
	}
	return best
}

// milterScan runs the filters on a message and reads the results out of the field that is put on top.
func milterScan(t *testing.T, config, message string, e example) map[string]string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.eml")
	cmd := exec.Command(binary(t), "-c", config, "scan", "--trace", "--out", out, "--ip", e.client, "--helo", e.helo,
		"--from", "<"+e.from+">", "--rcpt", "marc@fastmail.com", message)
	said, err := cmd.CombinedOutput()
	raw, failed := os.ReadFile(out)
	if failed != nil {
		t.Fatalf("%s: %v: %s", message, err, said)
	}
	field, _, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\nReceived"))
	got := map[string]string{}
	for _, m := range methodResult.FindAllStringSubmatch(string(field), -1) {
		if _, twice := got[m[1]]; !twice {
			got[m[1]] = m[2]
		}
	}
	return got
}

var txtString = regexp.MustCompile(`"[^"]*"|[^\s"()]+`)

// zoneText puts a master file of one record a line into the form of package zone.
func zoneText(master string) string {
	var b strings.Builder
	for line := range strings.Lines(master) {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], ";") {
			continue
		}
		rest := f[1:]
		for len(rest) > 0 && (rest[0] == "IN" || strings.Trim(rest[0], "0123456789") == "") {
			rest = rest[1:]
		}
		if len(rest) < 2 || rest[0] == "NS" {
			continue
		}
		value := strings.Join(rest[1:], " ")
		if rest[0] == "TXT" {
			var all []string
			for _, s := range txtString.FindAllString(value, -1) {
				all = append(all, `"`+strings.Trim(s, `"`)+`"`)
			}
			value = strings.Join(all, " ")
		}
		fmt.Fprintf(&b, "%s %s %s\n", f[0], rest[0], value)
	}
	return b.String()
}
