package pattern

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/peertest/spamassassin"
)

// stockRule is a rule of SpamAssassin with a pattern, as SpamAssassin has it once all its files are read.
type stockRule struct {
	Name     string
	Class    string // body, rawbody, uri, full, or the selector of a header
	Pattern  []byte
	Multiple bool
}

// seen is what the rules of each class see of one message.
type seen struct {
	Name    string
	Classes map[string][][]byte
}

type stock struct {
	Rules []stockRule
	Seen  []seen
}

// How many messages are taken from the corpora for tests, and for benchmarks.
const (
	fewMessages  = 60
	manyMessages = 500
)

var stocks = struct {
	sync.Mutex
	known map[int]*stock
}{known: map[int]*stock{}}

// loadStock gives SpamAssassin's own patterns and what they see of so many messages. It is kept below .cache, since
// SpamAssassin takes a tenth of a second for a message.
func loadStock(t testing.TB, messages int) *stock {
	t.Helper()
	spamassassin.Installed(t)
	stocks.Lock()
	defer stocks.Unlock()
	if s := stocks.known[messages]; s != nil {
		return s
	}
	path := filepath.Join(peertest.Module(t), ".cache", "pattern", fmt.Sprintf("stock-1-%d.json.gz", messages))
	s := new(stock)
	if err := readStock(path, s); errors.Is(err, fs.ErrNotExist) {
		s = makeStock(t, messages)
		if err := writeStock(path, s); err != nil {
			t.Fatal(err)
		}
	} else if err != nil {
		t.Fatal(err)
	}
	stocks.known[messages] = s
	return s
}

func makeStock(t testing.TB, messages int) *stock {
	j := spamassassin.Start(t)
	all, err := j.Rules()
	if err != nil {
		t.Fatal(err)
	}
	s := new(stock)
	selectors := map[string]bool{}
	for name, r := range all {
		if len(r.Pattern) == 0 {
			continue
		}
		class := r.Type
		if strings.HasPrefix(class, "head") {
			class, _, _ = strings.Cut(string(r.Text), " ")
			selectors[class] = true
		}
		s.Rules = append(s.Rules, stockRule{name, class, r.Pattern, strings.Contains(r.Tflags, "multiple")})
	}
	sort.Slice(s.Rules, func(i, k int) bool { return s.Rules[i].Name < s.Rules[k].Name })
	var list []string
	for sel := range selectors {
		list = append(list, sel)
	}
	corpus := spamassassin.Corpus(t)
	for i := range messages {
		m := corpus[i*len(corpus)/messages]
		shown, err := j.Show(m.LF, list...)
		if err != nil {
			t.Fatal(err)
		}
		classes := map[string][][]byte{
			"body": shown.Show.Body, "rawbody": shown.Show.RawBody, "full": shown.Show.Full, "uri": shown.Show.URI,
		}
		for sel, v := range shown.Get {
			if v != nil {
				classes[sel] = [][]byte{*v}
			}
		}
		s.Seen = append(s.Seen, seen{m.Name, classes})
	}
	return s
}

func readStock(path string, s *stock) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return err
	}
	return json.NewDecoder(z).Decode(s)
}

func writeStock(path string, s *stock) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	return errors.Join(json.NewEncoder(z).Encode(s), z.Close())
}

func TestStockCompiles(t *testing.T) {
	n := map[string]int{}
	octets := 0
	for _, r := range loadStock(t, fewMessages).Rules {
		if _, err := Compile(string(r.Pattern), Options{}); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
		n[r.Class]++
		octets += len(r.Pattern)
	}
	t.Logf("%d octets, %v", octets, n)
}
