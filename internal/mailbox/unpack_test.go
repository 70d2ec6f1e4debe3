package mailbox

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func packed(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts { // members of one file, as of logs that were put together
		z := gzip.NewWriter(&b)
		if _, err := z.Write(p); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// bzip2Mbox is "From x\nA: a\n\nb\n\nFrom y\nC: c\n\nd\n", as bzip2 has packed it.
const bzip2Mbox = "QlpoOTFBWSZTWfar6R8AAAjdgAAQQAAAECkAPAKQYCAAISpo0ZGEKYAAZnq45hyT0KEIiUWWKfF3JFOFCQ9qvpHw"

func TestPackedFiles(t *testing.T) {
	bz, err := base64.StdEncoding.DecodeString(bzip2Mbox)
	if err != nil {
		t.Fatal(err)
	}
	two := []string{"f:1|A: a\n\nb\n", "f:2|C: c\n\nd\n"}
	mbox := []byte("From x\nA: a\n\nb\n\nFrom y\nC: c\n\nd\n")
	big := []byte("A: a\n\n" + strings.Repeat("some words of a text that is long\n", 5000))
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "a.eml", Size: 4, Mode: 0o600}), func() error { _, err := io.WriteString(w, "A: a"); return err }(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		octets []byte
		want   []string
		fault  string
	}{
		"an mbox":            {packed(t, mbox), two, ""},
		"of two members":     {packed(t, mbox[:9], mbox[9:]), two, ""},
		"bzip2":              {bz, two, ""},
		"a message":          {packed(t, []byte("A: a\n\nb\n")), []string{"f|A: a\n\nb\n"}, ""},
		"a long message":     {packed(t, big), []string{"f|" + string(big)}, ""},
		"nothing":            {packed(t, nil), nil, ""},
		"cut":                {packed(t, mbox)[:30], two[:1], "unexpected EOF"},
		"damaged":            {slices.Concat(packed(t, mbox)[:40], []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}), two[:1], "f: flate: corrupt"},
		"bzip2 that is none": {[]byte("BZh91AY&SY and so on"), nil, "bzip2"},
		"packed twice":       {packed(t, packed(t, mbox)), nil, "f: no message: packed twice"},
		"a packed archive":   {packed(t, archive.Bytes()), nil, "f: no message: a tar archive"},
		"an archive":         {archive.Bytes(), nil, "f: no message: a tar archive"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			last := int64(0)
			err := ReadFrom(bytes.NewReader(c.octets), "f", func(m Message) error {
				got, last = append(got, m.Name+"|"+string(m.Octets)), m.Read
				return nil
			}, nil)
			if (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) || !slices.Equal(got, c.want) {
				t.Errorf("%.200q, %v", got, err)
			}
			if c.fault == "" && len(c.want) > 0 && last != int64(len(c.octets)) {
				t.Errorf("%d octets of %d were read", last, len(c.octets))
			}
		})
	}
}

// TestMessageThatPacksWell: how well one message packs keeps none behind it from being read.
func TestMessageThatPacksWell(t *testing.T) {
	const zeros = 20 << 20
	mbox := slices.Concat([]byte("From x\nA: a\n\n"), make([]byte, zeros), []byte("\n\nFrom y\nC: c\n\nd\n"))
	octets := packed(t, mbox)
	if len(mbox)/len(octets) < 900 {
		t.Fatalf("%d octets are packed in %d", len(mbox), len(octets))
	}
	var got []int
	err := ReadFrom(bytes.NewReader(octets), "f", func(m Message) error { got = append(got, len(m.Octets)); return nil }, nil)
	if err != nil || !slices.Equal(got, []int{zeros + 7, 8}) {
		t.Errorf("%d octets, %v", got, err)
	}
}

// TestBomb: what unpacks to too much ends before it has.
func TestBomb(t *testing.T) {
	b := &bounded{from: zeros{}, n: maxUnpacked - 10}
	if n, err := io.Copy(io.Discard, b); err == nil || n > 10 {
		t.Errorf("%d octets, %v", n, err)
	}
}

// TestTrailingOctets: what follows the last member and begins none is told, and takes nothing from what stands before it.
func TestTrailingOctets(t *testing.T) {
	mbox := []byte("From x\nA: a\n\nb\n\nFrom y\nC: c\n\nd\n")
	for name, c := range map[string]struct {
		octets []byte
		want   []string
		told   bool
	}{
		"NULs":              {slices.Concat(packed(t, mbox), make([]byte, 512)), []string{"A: a\n\nb\n", "C: c\n\nd\n"}, true},
		"one":               {append(packed(t, mbox), '\n'), []string{"A: a\n\nb\n", "C: c\n\nd\n"}, true},
		"behind two":        {append(packed(t, mbox[:9], mbox[9:]), "words"...), []string{"A: a\n\nb\n", "C: c\n\nd\n"}, true},
		"behind one":        {append(packed(t, []byte("A: a\n")), "words"...), []string{"A: a\n"}, true},
		"an empty member":   {packed(t, mbox[:9], nil, mbox[9:]), []string{"A: a\n\nb\n", "C: c\n\nd\n"}, false},
		"nothing is packed": {[]byte("A: a\n\n\x00\x00"), []string{"A: a\n\n\x00\x00"}, false},
	} {
		var got []string
		told := false
		take := func(m Message) error { got = append(got, string(m.Octets)); return nil }
		err := ReadFrom(bytes.NewReader(c.octets), "f", take, func(err error) error { told = errors.Is(err, errTrailing); return nil })
		if err != nil || told != c.told || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, told %v, %v", name, got, told, err)
		}
		got = nil
		if err := ReadFrom(bytes.NewReader(c.octets), "f", take, nil); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s, told nobody: %q, %v", name, got, err)
		}
	}
	next := packed(t, []byte("From z\nD: d\n"))
	if err := ReadFrom(bytes.NewReader(append(packed(t, mbox), next[:5]...)), "f", func(Message) error { return nil }, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a member that is cut: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return min(len(p), 10), nil }

// TestNoMessages: what has no header field, or is no text, is none; what servers and senders get wrong is one.
func TestNoMessages(t *testing.T) {
	for text, why := range map[string]string{
		"Subject: a\n\nb":             "",
		"Subject: a":                  "",
		"Subject : a\n\nb":            "",
		"no field\nX-A_b.c: a\n\nb":   "",
		">From x\nA: a\n\nb":          "",
		" folded\nA: a":               "",
		"\xef\xbb\xbfFrom: a\nA: b\n": "",
		"A: a\x00\n\n\x00":            "",
		"Gr\xfc\xdfe\n\x1b$B\nA: a":   "",
		"\n":                          "no header field stands before its first empty line",
		"\r\n\r\nA: a":                "no header field stands before its first empty line",
		"some words\n\nA: a":          "no header field stands before its first empty line",
		"some words":                  "it has no header field",
		strings.Repeat("words\n", 20_000) + "A: a\n": "it has no header field",
		": a\n":                           "it has no header field",
		"{\"a\": 1}":                      "it has no header field",
		"\x7fELF\x02\x01\nA: a":           "it is no text",
		"\xff\xd8\xff\xe0\x00\x10JFIF\n:": "it is no text",
		"F\x00r\x00o\x00m\x00:\x00":       "it is no text",
		"PK\x03\x04\nA: a":                "a zip archive, which has to be unpacked",
		"\xfd7zXZ\x00":                    "packed with xz, which is not read here",
		"\x28\xb5\x2f\xfd":                "packed with zstd, which is not read here",
		"cur/1.M1:2,S" + strings.Repeat("\x00", 245) + "ustar\x00\n\nA: a":                "a tar archive, which has to be unpacked",
		"Return-Path: <" + strings.Repeat("a", 243) + "ustar@example.org>\nA: a\n":        "",
		"Received: from " + strings.Repeat("a", 241) + "\nustar by x\n\n\x00":             "",
		strings.Repeat("words ", 42) + "text\nustar\nA: a\n\nb":                           "",
		"Return-Path: <a@example.org>\nX: \x00" + strings.Repeat("a", 224) + "ustar\n\nb": "",
	} {
		if got := whyNone([]byte(text)); got != why {
			t.Errorf("%.60q: %q, not %q", text, got, why)
		}
	}
}

// TestOddFilesInFolders: what is no message keeps no other from being read, and each is told.
func TestOddFilesInFolders(t *testing.T) {
	dir := t.TempDir()
	for name, octets := range map[string][]byte{
		"a.eml": []byte("A: a\n"), "b.jpeg": []byte("\xff\xd8\xff\xe0\x00"), "c.gz": packed(t, []byte("C: c\n")), "d": nil, "e.txt": []byte("words\n"),
		"f": []byte("From x\nF: f\n\nFrom y\nwords\n\nFrom z\nG: g\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := Read(dir, func(m Message) error { got = append(got, string(m.Octets)); return nil }, func(err error) error {
		var none *NoMessageError
		if !errors.As(err, &none) {
			return err
		}
		got = append(got, fmt.Sprint(filepath.Base(none.Name), " ", none.Entry))
		return nil
	})
	if want := []string{"A: a\n", "b.jpeg false", "C: c\n", "e.txt false", "F: f\n", "f:2 true", "G: g\n"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}
