//go:build accept

package accept

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
)

// hiding is a message that hides something.
type hiding struct {
	message
	class string
	sums  []string // MD5 of what is hidden, base64 without padding; none: it is the EICAR test file
	ends  string   // only under a name that ends so it is forbidden; "" under any
}

var (
	payloadID = regexp.MustCompile(`(?m)^X-Payload-Id:\s*(\S+).*?md5\(([^)]*)\)`)
	word      = regexp.MustCompile(`[A-Za-z0-9]+`)
)

// firstWord gives the word with which a name begins: the kind of a trick.
func firstWord(name string) string { return word.FindString(name) }

// noxxiContents are the messages of mime-is-broken that hide a zip file with the EICAR test file.
func noxxiContents(t *testing.T) (all []hiding) {
	t.Helper()
	for _, h := range noxxi(t, "hide-content.d") {
		// "multipart-basic-singlepart-b64h-basic-base64-xtraeq-eoquad": the trick is in the structure or in the encoding.
		if trick, ok := strings.CutPrefix(h.class, "multipart-basic-singlepart-"); ok {
			h.class = "encoding: " + firstWord(trick)
		} else {
			h.class = "structure: " + firstWord(strings.TrimPrefix(h.class, "multipart-"))
		}
		all = append(all, h)
	}
	return all
}

// noxxiNames are the messages of mime-is-broken that hide the name file.zip of a text.
func noxxiNames(t *testing.T) (all []hiding) {
	t.Helper()
	for _, h := range noxxi(t, "hide-filename.d") {
		field, trick, _ := strings.Cut(strings.TrimPrefix(h.class, "fname-"), ".")
		h.class, h.ends = field+" "+firstWord(trick), ".zip"
		// The sum in the header is that of the name; this is the content which every message has.
		sum := md5.Sum([]byte("This could be a file named 'test.zip'"))
		h.sums = []string{base64.RawStdEncoding.EncodeToString(sum[:])}
		all = append(all, h)
	}
	return all
}

func noxxi(t *testing.T, dir string) (all []hiding) {
	t.Helper()
	for _, m := range folder(t, "mime-ambiguity/noxxi/"+dir) {
		raw, err := m.read()
		if err != nil {
			t.Fatal(err)
		}
		id := payloadID.FindSubmatch(raw)
		if id == nil {
			t.Errorf("%s: no X-Payload-Id", m.name)
			continue
		}
		all = append(all, hiding{message: m, class: string(id[1]), sums: []string{string(id[2])}})
	}
	return all
}

// miner are the messages of MIMEminer, each of which hides the EICAR test file.
func miner(t *testing.T) (all []hiding) {
	t.Helper()
	root := peertest.Shared(t, "suites", "mime-ambiguity", "mimeminer")
	b, err := os.ReadFile(filepath.Join(root, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		File, Case string
		Slots      int
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if c.Slots == 0 {
			continue
		}
		class := path.Dir(c.File) + ": " + firstWord(strings.TrimLeft(c.Case, "0_"))
		all = append(all, hiding{message: file("mimeminer/"+c.File, filepath.Join(root, c.File)), class: class})
	}
	return all
}

// leaf is what a parser gets out of a message.
type leaf struct {
	Name  string `json:"name"`
	MD5   string `json:"md5"`
	EICAR bool   `json:"eicar"`
}

// holds reports whether a leaf is what was hidden.
func (h hiding) holds(l leaf) bool {
	is := l.EICAR || slices.Contains(h.sums, l.MD5)
	return is && (h.ends == "" || strings.HasSuffix(strings.ToLower(strings.TrimRight(l.Name, " .\x00")), h.ends))
}

// see gives the parsers that get the hidden thing out of a message.
func (h hiding) see(parsers map[string][]leaf) (names []string) {
	for p, all := range parsers {
		if slices.ContainsFunc(all, h.holds) {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	return names
}

// extract lets all parsers of the kit read messages, which are named by their number.
func extract(t *testing.T, dir string, messages [][]byte) []map[string][]leaf {
	t.Helper()
	tmp := t.TempDir()
	var in strings.Builder
	name := func(i int) string { return filepath.Join(tmp, fmt.Sprintf("%d.eml", i)) }
	for i, m := range messages {
		if err := os.WriteFile(name(i), m, 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&in, name(i))
	}
	script := filepath.Join("testdata", "leaves.py")
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	// What another state of the script has kept is not asked.
	cache := filepath.Join(dir, ".cache", fmt.Sprintf("leaves-%.4x", sha256.Sum256(text)))
	cmd := exec.Command("python3", script, dir, cache)
	cmd.Stdin = strings.NewReader(in.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("leaves.py: %v\n%s", err, stderr.Bytes())
	}
	var said map[string]map[string][]leaf
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	all := make([]map[string][]leaf, len(messages))
	for i := range messages {
		all[i] = said[name(i)]
	}
	return all
}

// hideout is what became of one hiding message.
type hideout struct {
	hiding
	raw []byte
	res judged
}

// What a message hides is found or the message is kept out, or else no parser of the kit gets it out of what is
// delivered.
func TestAmbiguity(t *testing.T) {
	dir := kit(t)
	for _, suite := range []struct {
		name, options string
		cases         []hiding
	}{
		{"mime-is-broken, contents", "", noxxiContents(t)},
		{"mime-is-broken, names, with `names: {\"*.zip\": strip}`", `names: {"*.zip": strip}`, noxxiNames(t)},
		{"MIMEminer", "", miner(t)},
	} {
		f := attachmentsFilter(t, suite.options)
		var all []hideout
		var originals, delivered [][]byte
		for _, h := range suite.cases {
			raw, err := h.read()
			if err != nil {
				t.Fatal(err)
			}
			res, err := judge(t, f, raw)
			if err != nil {
				t.Errorf("%s: %v", h.name, err)
				continue
			}
			all = append(all, hideout{h, raw, res})
			originals = append(originals, raw)
			delivered = append(delivered, res.out)
		}
		before, after := extract(t, dir, originals), extract(t, dir, delivered)
		rows, leaks := tally(all, before, after)
		for _, l := range leaks {
			t.Errorf("%s", strings.Join(l, " | "))
		}
		for _, r := range rows {
			t.Logf("%s: %s", suite.name, strings.Join(r, " | "))
		}
		command := "go test -tags accept -run TestAmbiguity ./internal/accept"
		table(t, "Hidden content: "+suite.name, command, []string{
			"class", "messages", "some parser gets the payload out of what came", "found and removed", "held or refused",
			"serialised anew", "untouched", "some parser gets it out of what is delivered",
		}, rows)
	}
}

// tally counts by class what became of messages, and lists those out of which a parser still gets what is hidden.
func tally(all []hideout, before, after []map[string][]leaf) (rows, leaks [][]string) {
	counts := map[string]*[7]int{}
	total := &[7]int{}
	for i, h := range all {
		n := counts[h.class]
		if n == nil {
			n = &[7]int{}
			counts[h.class] = n
		}
		add := func(column int) { n[column]++; total[column]++ }
		add(0)
		if len(h.see(before[i])) > 0 {
			add(1)
		}
		switch {
		case h.res.Propose >= filter.Quarantine:
			add(3)
			continue
		case len(h.res.Edits) > 0:
			add(2)
		case h.res.changed:
			add(4)
		default:
			add(5)
		}
		if who := h.see(after[i]); len(who) > 0 {
			add(6)
			leaks = append(leaks, []string{h.name, h.class, fmt.Sprint(h.res.Findings), strings.Join(who, ",")})
		}
	}
	row := func(class string, n *[7]int) []string {
		r := []string{class}
		for _, k := range n {
			r = append(r, fmt.Sprint(k))
		}
		return r
	}
	for _, c := range slices.Sorted(maps.Keys(counts)) {
		rows = append(rows, row(c, counts[c]))
	}
	return append(rows, row("all", total)), leaks
}

// The messages against webmail pass through without a fault.
func TestWebmailAttacks(t *testing.T) {
	f := attachmentsFilter(t, "")
	counts := map[string]int{}
	all := folder(t, "mime-ambiguity/wooyun-xss")
	for _, m := range all {
		raw, err := m.read()
		if err != nil {
			t.Fatal(err)
		}
		res, err := judge(t, f, raw)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		counts[fate(res)]++
	}
	table(t, "Mail against webmail (Wooyun)", "go test -tags accept -run TestWebmailAttacks ./internal/accept",
		[]string{"messages", "untouched", "serialised anew", "a part removed", "held or refused"},
		[][]string{{fmt.Sprint(len(all)), fmt.Sprint(counts["untouched"]), fmt.Sprint(counts["rebuilt"]), fmt.Sprint(counts["stripped"]), fmt.Sprint(counts["held"])}})
	t.Logf("%d: %v", len(all), counts)
}

// fate names what became of a message, the gravest thing first.
func fate(res judged) string {
	switch {
	case res.Propose >= filter.Quarantine:
		return "held"
	case len(res.Edits) > 0:
		return "stripped"
	case res.changed:
		return "rebuilt"
	}
	return "untouched"
}
