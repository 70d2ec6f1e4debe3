package spamassassin

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

//go:embed headdump.pl
var headProgram []byte

// Head is what SpamAssassin finds in the header of a message.
type Head struct {
	Get         map[string]*[]byte             `json:"get"`    // by selector; nil where there is nothing
	Relays      map[string][]map[string][]byte `json:"relays"` // trusted, untrusted, internal, external: ip, rdns, helo, by …
	Unparseable int                            `json:"unparseable"`
}

// header is a running headdump.pl.
type header struct {
	in   io.Writer
	out  *bufio.Scanner
	file string
}

func startHeader(t testing.TB, lines []string) *header {
	t.Helper()
	root := Installed(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "headdump.pl")
	if err := os.WriteFile(script, headProgram, 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := peertest.Command(t, "perl", append([]string{script, root, state}, lines...)...)
	cmd.Env = append(cmd.Env, "PERL_HASH_SEED=0", "LC_ALL=C", "TZ=UTC")
	in, out := peertest.Piped(t, cmd)
	h := &header{in: in, out: bufio.NewScanner(out), file: filepath.Join(dir, "message")}
	h.out.Buffer(make([]byte, 64<<10), maxAnswer)
	return h
}

func (h *header) ask(question any) ([]byte, error) {
	b, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	if _, err := h.in.Write(append(b, '\n')); err != nil {
		return nil, err
	}
	if !h.out.Scan() {
		return nil, fmt.Errorf("spamassassin: headdump.pl: %w", io.ErrUnexpectedEOF)
	}
	return h.out.Bytes(), nil
}

func (h *header) about(m Message, selectors []string) ([]byte, error) {
	if err := os.WriteFile(h.file, m.LF, 0o600); err != nil {
		return nil, err
	}
	return h.ask(map[string]any{"path": h.file, "get": selectors})
}

// Selectors gives the header selectors of the stock rules.
func Selectors(t testing.TB) []string {
	t.Helper()
	b, err := startHeader(t, nil).ask(map[string]any{"selectors": true})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Selectors []string }
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Selectors
}

// Heads calls f with what SpamAssassin finds in the header of each message, with some lines of configuration. What the
// cache does not know is asked.
func Heads(t testing.TB, messages []Message, selectors, lines []string, f func(m Message, h Head)) {
	t.Helper()
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %s", selectors, lines, headProgram)
	dir := filepath.Join(peertest.Module(t), ".cache", "spamassassin", "heads-"+hex.EncodeToString(sum.Sum(nil))[:16])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := func(m Message) string {
		s := sha256.Sum256(m.LF)
		return filepath.Join(dir, hex.EncodeToString(s[:12])+".gz")
	}
	todo := make(chan Message, len(messages))
	for _, m := range messages {
		if _, err := os.Stat(path(m)); err != nil {
			todo <- m
		}
	}
	close(todo)
	var wg sync.WaitGroup
	for range min(2, (len(todo)+19)/20) {
		h := startHeader(t, lines)
		wg.Go(func() {
			for m := range todo {
				b, err := h.about(m, selectors)
				if err == nil {
					err = writeGzip(path(m), b)
				}
				if err != nil {
					t.Errorf("%s: %v", m.Name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, m := range messages {
		b, err := readGzip(path(m))
		if err != nil {
			t.Fatal(err)
		}
		var h Head
		if err := json.Unmarshal(b, &h); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		f(m, h)
	}
}

func writeGzip(path string, b []byte) error {
	var z strings.Builder
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", []byte(z.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readGzip(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
