package pdf

import (
	"bytes"
	"compress/lzw"
	"compress/zlib"
	"context"
	"encoding/ascii85"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
)

// file makes a PDF of objects, given as "1 0 obj …" without their ends.
func file(objects ...string) string {
	var b strings.Builder
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	for _, o := range objects {
		b.WriteString(o + "\nendobj\n")
	}
	b.WriteString("trailer << /Root 1 0 R >>\nstartxref\n0\n%%EOF\n")
	return b.String()
}

// stream makes a stream object; entries are those of its dictionary beside its length.
func stream(num int, entries, data string) string {
	return fmt.Sprintf("%d 0 obj << %s /Length %d >>\nstream\n%s\nendstream", num, entries, len(data), data)
}

// objectStream makes an object stream of objects 100, 101, ….
func objectStream(num int, entries string, encode func(string) string, objects ...string) string {
	var table, all strings.Builder
	for i, o := range objects {
		fmt.Fprintf(&table, "%d %d ", 100+i, all.Len())
		all.WriteString(o + " ")
	}
	return stream(num, fmt.Sprintf("/Type /ObjStm /N %d /First %d %s", len(objects), table.Len(), entries), encode(table.String()+all.String()))
}

func plain(s string) string { return s }

func deflate(s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func toHex(s string) string { return hex.EncodeToString([]byte(s)) + ">" }

func to85(s string) string {
	var b bytes.Buffer
	e := ascii85.NewEncoder(&b)
	_, _ = io.WriteString(e, s)
	_ = e.Close()
	return b.String() + "~>"
}

// toLZW encodes with codes of the usual length, as EarlyChange 0 has them.
func toLZW(s string) string {
	var b bytes.Buffer
	z := lzw.NewWriter(&b, lzw.MSB, 8)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func toRuns(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := 1
		for n < len(s) && n < 128 && s[n] == s[0] {
			n++
		}
		if n > 1 {
			b.WriteString(string([]byte{byte(257 - n), s[0]}))
		} else {
			b.WriteString(string([]byte{0, s[0]}))
		}
		s = s[n:]
	}
	return b.String() + "\x80"
}

// toRows puts the PNG filter Up before rows of 8 octets.
func toRows(s string) string {
	var b strings.Builder
	above := make([]byte, 8)
	for len(s) > 0 {
		row := []byte(s[:min(8, len(s))])
		s = s[len(row):]
		b.WriteByte(2)
		for i, c := range row {
			b.WriteByte(c - above[i])
		}
		copy(above, row)
	}
	return b.String()
}

// seen is a visitor that keeps what it is told.
type seen struct {
	signs []archive.Sign
	names [][]string
	types []string
	files []string // "-" for none
}

func (s *seen) Sign(g archive.Sign) error {
	s.signs = append(s.signs, g)
	return nil
}

func (s *seen) File(e *archive.Entry) error {
	s.names = append(s.names, e.Names)
	s.types = append(s.types, e.Type)
	if e.File == nil {
		s.files = append(s.files, "-")
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(e.File.Reader(), 1<<16))
	s.files = append(s.files, string(b))
	return err
}

func (s *seen) kinds() string {
	var all []string
	for _, g := range s.signs {
		if !slices.Contains(all, string(g.Kind)) {
			all = append(all, string(g.Kind))
		}
	}
	return strings.Join(all, " ")
}

func look(t testing.TB, text string, l archive.Limits) *seen {
	t.Helper()
	s := &seen{}
	f := archive.NewFile([]byte(text))
	if err := Walk(context.Background(), f, archive.NewBudget(l, int64(len(text))), s); err != nil {
		t.Fatal(err)
	}
	return s
}
