//go:build accept

package accept

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// message is one message of a corpus. It is read when it is its turn.
type message struct {
	name string
	read func() ([]byte, error)
}

func file(name, path string) message {
	return message{name, func() ([]byte, error) { return os.ReadFile(path) }}
}

// folder reads every file below a folder of the corpora. Sources, licences and tables are messages too: whatever
// a file is, scan has to cope with it.
func folder(t *testing.T, name string) []message {
	t.Helper()
	root := peertest.Shared(t, "suites", name)
	var all []message
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		all = append(all, file(name+"/"+rel, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// archives unpacks the messages of the spam corpora.
func archives(t *testing.T) []message {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(peertest.Shared(t, "suites", "spam"), "*.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var all []message
	for _, archive := range files {
		for name, raw := range peertest.Packed(t, archive) {
			path := filepath.Join(dir, fmt.Sprint(len(all)))
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			all = append(all, file("spam/"+name, path))
		}
	}
	return all
}

// wrapped makes each file an attachment of a message.
func wrapped(files []message) []message {
	var all []message
	for _, f := range files {
		all = append(all, message{f.name, func() ([]byte, error) {
			data, err := f.read()
			var b bytes.Buffer
			fmt.Fprintf(&b, "From: a@client.test\nTo: b@bench.test\nSubject: a file\nDate: Mon, 23 Nov 2026 09:00:00 +0000\nMessage-ID: <1@client.test>\n"+
				"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=xyzzy\n\n--xyzzy\nContent-Type: text/plain\n\nA file.\n"+
				"--xyzzy\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=%q\n\n", filepath.Base(f.name))
			for s := base64.StdEncoding.EncodeToString(data); s != ""; {
				n := min(76, len(s))
				b.WriteString(s[:n] + "\n")
				s = s[n:]
			}
			b.WriteString("--xyzzy--\n")
			return b.Bytes(), err
		}})
	}
	return all
}

var bareCR = regexp.MustCompile(`\r+\n|\r`)

// canonical is what ingest makes of a message: a slow reading of the rule, to compare with.
func canonical(b []byte) []byte {
	b = bareCR.ReplaceAllFunc(b, func(m []byte) []byte {
		if m[len(m)-1] == '\n' { // the last CR belongs to the line end, those before it are bare
			return append(bytes.Repeat([]byte(" "), len(m)-2), '\n')
		}
		return []byte(" ")
	})
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// scanned is one run of the program.
type scanned struct {
	ran
	message []byte // as it was written
}

// scan scans a message file.
func (s *starter) scan(program, config, in string) (scanned, error) {
	out := in + ".out"
	r, err := s.run(program, "-c", config, "scan", "--json", "--ip", "192.0.2.1", "--from", "a@client.test", "--out", out, in)
	if err != nil {
		return scanned{}, err
	}
	defer os.Remove(out)
	message, err := os.ReadFile(out)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // nothing was written
	}
	return scanned{r, message}, err
}

// TestCorpora runs `postern scan` on every message of the corpora, once with the standard filters and once with
// none.
func TestCorpora(t *testing.T) {
	program := binary(t)
	dir := t.TempDir()
	configs := map[string]string{}
	for name, filters := range map[string]string{"standard": "", "none": "filters: []\n"} {
		configs[name] = filepath.Join(dir, name+".yaml")
		text := "hostname: mx.bench.test\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [bench.test], upstream: x}]\n" +
			"upstreams: {x: {maildir: x}}\ndns: {servers: [\"127.0.0.1:9\"]}\n" + filters
		if err := os.WriteFile(configs[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var rows [][]string
	for _, set := range []struct {
		name string
		all  []message
	}{
		{"mime", folder(t, "mime")},
		{"mime-ambiguity", folder(t, "mime-ambiguity")},
		{"attachments, each as a part", wrapped(folder(t, "attachments"))},
		{"spam", archives(t)},
	} {
		var mu sync.Mutex
		var slowest time.Duration
		var largest int64
		codes := map[int]int{}
		same := 0
		work := make(chan message)
		var workers sync.WaitGroup
		for range 2 {
			s := newStarter(t)
			workers.Go(func() {
				for m := range work {
					in := filepath.Join(dir, fmt.Sprintf("%p", &m))
					data, err := m.read()
					if err == nil {
						err = os.WriteFile(in, data, 0o600)
					}
					if err != nil {
						t.Error(err)
						continue
					}
					std, err := s.scan(program, configs["standard"], in)
					none, err2 := s.scan(program, configs["none"], in)
					os.Remove(in)
					if err := errors.Join(err, err2); err != nil {
						t.Error(err)
						continue
					}
					mu.Lock()
					for _, s := range []scanned{std, none} {
						if !slices.Contains([]int{0, 10, 11, 12}, s.Code) {
							t.Errorf("%s: exit %d: %s", m.name, s.Code, s.Err)
						}
						if s.Wall > 2*time.Second || s.RSS > 256<<20 {
							t.Errorf("%s: %v, %d MiB", m.name, s.Wall, s.RSS>>20)
						}
						slowest, largest = max(slowest, s.Wall), max(largest, s.RSS)
					}
					codes[std.Code]++
					if bytes.Equal(none.message, canonical(data)) {
						same++
					} else {
						t.Errorf("%s: without filters the output differs from the input", m.name)
					}
					mu.Unlock()
				}
			})
		}
		for _, m := range set.all {
			work <- m
		}
		close(work)
		workers.Wait()
		var by []string
		for _, c := range []struct {
			code int
			name string
		}{{0, "deliver"}, {10, "quarantine"}, {11, "defer"}, {12, "reject"}} {
			by = append(by, fmt.Sprintf("%d %s", codes[c.code], c.name))
		}
		rows = append(rows, []string{
			set.name, fmt.Sprint(len(set.all)), strings.Join(by, ", "), fmt.Sprint(same),
			fmt.Sprintf("%.0f", slowest.Seconds()*1000), fmt.Sprint(largest >> 20),
		})
	}
	table(t, "Every message of the corpora through `postern scan`", "postern scan --json --ip 192.0.2.1 --from a@client.test --out OUT MSG",
		[]string{"corpus", "messages", "standard filters, no DNS", "unchanged with `filters: []`", "slowest, ms", "peak memory, MiB"}, rows)
}
