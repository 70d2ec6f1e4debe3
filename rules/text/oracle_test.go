//go:build !race

package text

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/pattern"
)

// dump is what SpamAssassin makes of a message: what internal/peertest/spamassassin/textdump.pl writes.
type dump struct {
	Name      string
	Body      [][]byte
	RawBody   [][]byte
	Visible   [][]byte
	Invisible [][]byte
	Full      []byte
	URIs      [][]byte
	URI       map[string]struct {
		Types   []string
		Cleaned [][]byte
		Anchors [][]byte
		Hosts   map[string]string
	}
	HTML []struct {
		Number map[string]json.Number
		Text   map[string][][]byte
		Inside map[string]int
		Link   map[string]struct {
			Types   []string
			Anchors [][]byte
		}
	}
	Truncated int
}

// sample is a message of the corpora.
type sample struct {
	name    string
	content *mail.Content
}

// ingest takes a message in as the gateway does.
func ingest(t testing.TB, raw []byte) *mail.Content {
	t.Helper()
	g := mail.NewIngest(mail.IngestOptions{Memory: 64 << 20})
	if _, err := g.Write(raw); err != nil {
		t.Fatal(err)
	}
	b, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(b, faults, mail.Limits{})
	t.Cleanup(c.Release)
	return c
}

// archives are the corpora of ham and spam.
var archives = []string{
	"spamassassin-ham", "spamassassin-spam", "csdmc2010-new-ham", "csdmc2010-new-spam",
	"nazario-phish-2004-2005", "phishing_pot-2022-2025H1",
}

// corpus reads every step-th message of a corpus: of an archive, or SpamAssassin's own test mails.
func corpus(t testing.TB, name string, step int) (all []sample) {
	t.Helper()
	n := 0
	add := func(file string, raw []byte) {
		if n++; n%step == 0 {
			all = append(all, sample{name + ":" + file, ingest(t, raw)})
		}
	}
	if name != "apache-spamassassin-t" {
		for file, raw := range peertest.Packed(t, peertest.Shared(t, "suites", "spam", name+".tar.gz")) {
			if !strings.HasSuffix(file, ".md") && !strings.Contains(file, "LICENSE") {
				add(file, raw)
			}
		}
		return all
	}
	root := peertest.Shared(t, "suites", "mime", name, "t", "data")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err == nil {
			add(path[len(root)+1:], raw)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// ask lets SpamAssassin look at messages.
func ask(t testing.TB, all []sample) []dump {
	t.Helper()
	rules := filepath.Join(peertest.Root(t), "usr/share/spamassassin")
	script, err := filepath.Abs("../../internal/peertest/spamassassin/textdump.pl")
	if err != nil {
		t.Fatal(err)
	}
	cmd := peertest.Command(t, "perl", script, rules)
	var in bytes.Buffer
	for _, s := range all {
		raw, _ := s.content.Blob().Bytes()
		lf := bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		fmt.Fprintf(&in, "%d\n%s", len(lf), lf)
	}
	cmd.Stdin = &in
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	dumps := make([]dump, 0, len(all))
	dec := json.NewDecoder(bufio.NewReaderSize(out, 1<<20))
	for _, s := range all {
		d := dump{}
		if err := dec.Decode(&d); err != nil {
			t.Fatalf("%s: %v\n%s", s.name, err, complaint.String())
		}
		d.Name = s.name
		dumps = append(dumps, d)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, complaint.String())
	}
	return dumps
}

// dumps gives what SpamAssassin makes of messages, from the cache where it has been asked before.
func dumps(t testing.TB, name string, step int, all []sample) []dump {
	t.Helper()
	folder := filepath.Join("..", "..", ".cache", "spamassassin-text")
	script, err := os.ReadFile("../../internal/peertest/spamassassin/textdump.pl")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, fmt.Sprintf("%s.%d.%08x.json.gz", name, step, crc32.ChecksumIEEE(script)))
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		if d, err := readDumps(f); err == nil && len(d) == len(all) {
			return d
		}
	}
	found := ask(t, all)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := json.NewEncoder(z).Encode(found); err != nil {
		t.Fatal(err)
	}
	z.Close()
	if err := os.WriteFile(path, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return found
}

func readDumps(r io.Reader) (all []dump, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return all, json.NewDecoder(z).Decode(&all)
}

// step gives which messages of each corpus are looked at: some 100 in all, or all of them.
func step() int {
	if peertest.Every() {
		return 1
	}
	return 63
}

func TestFullAsSpamAssassin(t *testing.T) {
	for _, name := range append(archives, "apache-spamassassin-t") {
		all := corpus(t, name, step())
		for i, d := range dumps(t, name, step(), all) {
			if got := Of(all[i].content, Options{}).Full(); !bytes.Equal(got, d.Full) {
				t.Errorf("%s: %d octets, SpamAssassin %d", d.Name, len(got), len(d.Full))
			}
		}
	}
}

// tally counts how many messages are seen as SpamAssassin sees them, and tells of some that are not.
type tally struct {
	t           testing.TB
	what        string
	same, other int
}

func (c *tally) note(name string, same bool, format string, args ...any) {
	if same {
		c.same++
		return
	}
	if c.other++; c.other <= 12 {
		c.t.Logf("%s: %s: %s", c.what, name, fmt.Sprintf(format, args...))
	}
}

// demand fails the test where the part of those that are the same is too small.
func (c *tally) demand(least float64) {
	rate := float64(c.same) / float64(c.same+c.other)
	c.t.Logf("%s: %d of %d are the same (%.2f %%)", c.what, c.same, c.same+c.other, 100*rate)
	if rate < least {
		c.t.Errorf("%s: %.2f %% are the same, want %.2f %%", c.what, 100*rate, 100*least)
	}
}

// firstDifference tells where two lists of texts differ.
func firstDifference(got, want [][]byte) string {
	for i := range max(len(got), len(want)) {
		var g, w []byte
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if bytes.Equal(g, w) && i < len(got) && i < len(want) {
			continue
		}
		k := 0
		for k < len(g) && k < len(w) && g[k] == w[k] {
			k++
		}
		from := max(0, k-30)
		return fmt.Sprintf("%d:%d of %d/%d\n got %q\nwant %q", i, k, len(got), len(want), g[from:min(len(g), k+80)], w[from:min(len(w), k+80)])
	}
	return ""
}

func sameTexts(got, want [][]byte) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			return false
		}
	}
	return true
}

func TestBodyAsSpamAssassin(t *testing.T) {
	body, raw := &tally{t: t, what: "body"}, &tally{t: t, what: "rawbody"}
	for _, name := range append(archives, "apache-spamassassin-t") {
		all := corpus(t, name, step())
		for i, d := range dumps(t, name, step(), all) {
			m := Of(all[i].content, Options{})
			got := m.Body()
			body.note(d.Name, sameTexts(got, d.Body), "%s", firstDifference(got, d.Body))
			got = m.RawBody()
			raw.note(d.Name, sameTexts(got, d.RawBody), "%s", firstDifference(got, d.RawBody))
		}
	}
	body.demand(0.997)
	raw.demand(0.997)
}

// stockTLDs reads the top-level domains of SpamAssassin's configuration.
func stockTLDs(t testing.TB) *TLDs {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(peertest.Root(t), "usr/share/spamassassin/20_aux_tlds.cf"))
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], "util_rb_") {
			lists[f[0]] = append(lists[f[0]], f[1:]...)
		}
	}
	return NewTLDs(lists["util_rb_tld"], lists["util_rb_2tld"], lists["util_rb_3tld"])
}

// stockRedirector has the redirector patterns of SpamAssassin's configuration.
type stockRedirector []*pattern.Pattern

func (r *stockRedirector) Target(uri string) (string, bool) {
	for _, p := range *r {
		loc, ok, err := p.FindSubmatch([]byte(uri), 0)
		if err == nil && ok && len(loc) > 3 && loc[2] >= 0 && strings.Contains(uri[loc[2]:loc[3]], ".") {
			return uri[loc[2]:loc[3]], true
		}
	}
	return "", false
}

func stockRedirectors(t testing.TB) *stockRedirector {
	t.Helper()
	r := &stockRedirector{}
	for _, file := range []string{"20_uri_tests.cf", "72_active.cf"} {
		b, err := os.ReadFile(filepath.Join(peertest.Root(t), "usr/share/spamassassin", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			rest, ok := strings.CutPrefix(line, "redirector_pattern")
			if !ok || !strings.ContainsAny(rest[:1], " \t") {
				continue
			}
			expr := strings.TrimPrefix(strings.TrimSpace(rest), "m")
			expr = strings.TrimSuffix(expr, "i")
			p, err := pattern.Compile(strings.ReplaceAll(expr[1:len(expr)-1], `\/`, "/"), pattern.Options{IgnoreCase: true})
			if err != nil {
				t.Fatalf("%s: %v", expr, err)
			}
			*r = append(*r, p)
		}
	}
	return r
}

func sorted(texts [][]byte) [][]byte {
	texts = slices.Clone(texts)
	slices.SortFunc(texts, bytes.Compare)
	return slices.CompactFunc(texts, bytes.Equal)
}

func TestURIsAsSpamAssassin(t *testing.T) {
	tlds, redirectors := stockTLDs(t), stockRedirectors(t)
	uris, detail := &tally{t: t, what: "uri"}, &tally{t: t, what: "uri detail"}
	for _, name := range append(archives, "apache-spamassassin-t") {
		all := corpus(t, name, step())
		for i, d := range dumps(t, name, step(), all) {
			m := Of(all[i].content, Options{TLDs: tlds, Redirector: redirectors})
			got, want := sorted(m.URITexts()), sorted(d.URIs)
			uris.note(d.Name, sameTexts(got, want), "%s", firstDifference(got, want))
			detail.note(d.Name, uriDetail(m, d) == "", "%s", uriDetail(m, d))
		}
	}
	uris.demand(0.997)
	detail.demand(0.997)
}

// uriDetail tells the first difference in what is known of each URI.
func uriDetail(m *Message, d dump) string {
	all := m.URIs()
	if len(all) != len(d.URI) {
		return fmt.Sprintf("%d URIs, SpamAssassin has %d", len(all), len(d.URI))
	}
	for i := range all {
		u := &all[i]
		w, ok := d.URI[base64.StdEncoding.EncodeToString([]byte(u.Raw))]
		if !ok {
			return fmt.Sprintf("%q is not known to SpamAssassin", u.Raw)
		}
		types := slices.Sorted(slices.Values(u.Types))
		if !slices.Equal(types, w.Types) {
			return fmt.Sprintf("%q: %v, SpamAssassin has %v", u.Raw, types, w.Types)
		}
		if len(u.Anchors) != len(w.Anchors) {
			return fmt.Sprintf("%q: %q, SpamAssassin has %q", u.Raw, u.Anchors, w.Anchors)
		}
		for k := range u.Anchors {
			if u.Anchors[k] != utf8Of(w.Anchors[k]) {
				return fmt.Sprintf("%q: %q, SpamAssassin has %q", u.Raw, u.Anchors[k], w.Anchors[k])
			}
		}
		hosts := map[string]string{}
		for _, h := range u.Hosts {
			hosts[base64.StdEncoding.EncodeToString([]byte(h.Name))] = base64.StdEncoding.EncodeToString([]byte(h.Domain))
		}
		if !maps.Equal(hosts, w.Hosts) {
			return fmt.Sprintf("%q: hosts %v", u.Raw, u.Hosts)
		}
	}
	return ""
}

// utf8Of gives a text of octets that is no UTF-8 as what it is in Latin-1.
func utf8Of(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

func TestHTMLAsSpamAssassin(t *testing.T) {
	facts, visible, hidden := &tally{t: t, what: "html"}, &tally{t: t, what: "visible"}, &tally{t: t, what: "invisible"}
	for _, name := range append(archives, "apache-spamassassin-t") {
		all := corpus(t, name, step())
		for i, d := range dumps(t, name, step(), all) {
			m := Of(all[i].content, Options{})
			diff := htmlDifference(m.HTML(), d)
			facts.note(d.Name, diff == "", "%s", diff)
			got := m.VisibleBody()
			visible.note(d.Name, sameTexts(got, d.Visible), "%s", firstDifference(got, d.Visible))
			got = m.HiddenBody()
			hidden.note(d.Name, sameTexts(got, d.Invisible), "%s", firstDifference(got, d.Invisible))
		}
	}
	facts.demand(0.997)
	visible.demand(0.997)
	hidden.demand(0.997)
}

// htmlDifference tells the first difference in the facts about HTML.
func htmlDifference(all []*HTML, d dump) string {
	known := d.HTML[:0:0]
	for _, w := range d.HTML {
		if len(w.Number) > 0 {
			known = append(known, w)
		}
	}
	if len(all) != len(known) {
		return fmt.Sprintf("%d parts, SpamAssassin has %d", len(all), len(known))
	}
	for i, h := range all {
		w := known[i]
		for _, name := range []string{
			"html", "length", "html_length", "non_space_len", "ratio", "image_area", "min_size", "max_size", "font_low_contrast",
			"font_invalid_color", "font_face_bad", "form_action_mailto", "embeds", "uri_truncated", "backhair_count", "closed_extra_ratio",
			"bad_tag_ratio", "non_element_ratio", "obfuscation_ratio",
		} {
			got, ok := h.Number(name)
			n, there := w.Number[name]
			want, _ := n.Float64()
			if ok != there || math.Abs(got-want) > 1e-6*math.Abs(want) {
				return fmt.Sprintf("%s: %v %v, SpamAssassin has %v %v", name, got, ok, n, there)
			}
		}
		for _, name := range []string{"anchor", "comment", "script", "title"} {
			if !sameTexts(h.Texts(name), w.Text[name]) {
				return name + ": " + firstDifference(h.Texts(name), w.Text[name])
			}
		}
		for tag, n := range w.Inside {
			name, _ := base64.StdEncoding.DecodeString(tag)
			if got, ok := h.Inside(string(name)); !ok || got != n {
				return fmt.Sprintf("inside %q: %d %v, SpamAssassin has %d", name, got, ok, n)
			}
		}
		if n := h.seen; n != len(w.Inside) && n+1 != len(w.Inside) {
			return fmt.Sprintf("%d elements, SpamAssassin has %d", n, len(w.Inside))
		}
		if len(h.Links) != len(w.Link) {
			return fmt.Sprintf("%d links, SpamAssassin has %d", len(h.Links), len(w.Link))
		}
	}
	return ""
}

// The prose is the text behind the first paragraph.
func TestVisibleProse(t *testing.T) {
	for _, name := range archives {
		for _, s := range corpus(t, name, 40) {
			m := Of(s.content, Options{})
			if got, want := m.VisibleProse(), bytes.Join(m.VisibleText()[min(1, len(m.VisibleText())):], nil); !bytes.Equal(got, want) {
				t.Errorf("%s: %d octets, not %d", s.name, len(got), len(want))
			}
		}
	}
}
