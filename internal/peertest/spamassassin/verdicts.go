package spamassassin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// Message is a message to judge, as both sides see it: canonical line ends, without the line that a mailbox file puts in front.
type Message struct {
	Name string
	LF   []byte // with the line ends that SpamAssassin sees
	CRLF []byte
}

// Prepare makes a Message of octets from a file. What Postern does to the line ends of mail that it takes in is done first:
// the question is whether both judge the same message the same way. It is false for a message that Postern does not take.
func Prepare(name string, raw []byte) (Message, bool) {
	if bytes.HasPrefix(raw, []byte("From ")) {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	g := mail.NewIngest(mail.IngestOptions{Memory: 64 << 20})
	_, _ = g.Write(raw) // the error comes again
	b, faults, err := g.Blob()
	if err != nil {
		return Message{}, false
	}
	defer b.Release()
	if faults.NUL > 0 {
		return Message{}, false
	}
	crlf := make([]byte, b.Size())
	if _, err := b.ReadAt(crlf, 0); err != nil {
		return Message{}, false
	}
	return Message{name, bytes.ReplaceAll(crlf, []byte("\r\n"), []byte("\n")), crlf}, true
}

// recipe is part of the cache's name: it changes with what is asked.
const recipe = "1"

type kept struct {
	SHA256 string `json:"sha256"`
	Name   string `json:"name"`
	Verdict
}

// Verdicts has messages judged by two processes, as far as the cache does not know the answers.
func Verdicts(t testing.TB, messages []Message) []Verdict {
	t.Helper()
	first := Start(t)
	cache := filepath.Join(peertest.Module(t), ".cache", "spamassassin", first.Version, "verdicts-"+recipe+".jsonl")
	known := readCache(t, cache)
	f, err := os.OpenFile(cache, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := make([]Verdict, len(messages))
	sums := make([]string, len(messages))
	todo := make(chan int, len(messages))
	// In an order that mixes the corpora: what a run that was broken off has seen is a sample of all.
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(messages)) {
		m := messages[i]
		sum := sha256.Sum256(m.LF)
		sums[i] = hex.EncodeToString(sum[:])
		if v, ok := known[sums[i]]; ok {
			all[i] = v
		} else {
			todo <- i
		}
	}
	close(todo)
	if len(todo) == 0 {
		return all
	}
	left, begin := len(todo), time.Now()
	t.Logf("%d messages to judge", left)
	judges := []*Judge{first}
	if left > 20 {
		judges = append(judges, Start(t))
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, j := range judges {
		wg.Go(func() {
			for i := range todo {
				v, err := j.Judge(messages[i].LF)
				if err != nil {
					t.Errorf("%s: %v", messages[i].Name, err)
					return
				}
				line, _ := json.Marshal(kept{sums[i], messages[i].Name, v})
				mu.Lock()
				all[i] = v
				_, err = f.Write(append(line, '\n'))
				if left--; left%250 == 0 {
					t.Logf("%d left, %v each", left, (time.Since(begin) / time.Duration(len(messages)-left)).Round(time.Millisecond))
				}
				mu.Unlock()
				if err != nil {
					t.Errorf("spamassassin: cache: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

func readCache(t testing.TB, path string) map[string]Verdict {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	known := map[string]Verdict{}
	f, err := os.Open(path)
	if err != nil {
		return known
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxAnswer)
	for in.Scan() {
		var k kept
		if json.Unmarshal(in.Bytes(), &k) == nil { // a line that was cut off is asked again
			known[k.SHA256] = k.Verdict
		}
	}
	return known
}

// Corpus gives the messages of the suites that stand beside the checkout: the archives of ham, spam and phish, and SpamAssassin's
// own test messages. Those that Postern would not take are left out.
func Corpus(t testing.TB) []Message {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(peertest.Shared(t, "suites", "spam"), "*.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var all []Message
	add := func(name string, raw []byte) {
		if m, ok := Prepare(name, raw); ok {
			all = append(all, m)
		} else {
			t.Logf("%s: not taken", name)
		}
	}
	for _, archive := range archives {
		for name, raw := range peertest.Packed(t, archive) {
			add(name, raw)
		}
	}
	root := peertest.Shared(t, "suites", "mime", "apache-spamassassin-t", "t", "data")
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		add("t/"+rel, raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
