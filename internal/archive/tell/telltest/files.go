package telltest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"strings"
	"testing"
)

// ReadFile reads a file, and decodes it where it is called .uu.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".uu") {
		return uudecode(b)
	}
	return b
}

func uudecode(in []byte) (out []byte) {
	begun := false
	lines := bufio.NewScanner(bytes.NewReader(in))
	for lines.Scan() {
		line := lines.Bytes()
		if !begun || len(line) == 0 || bytes.Equal(line, []byte("end")) {
			begun = begun || bytes.HasPrefix(line, []byte("begin "))
			continue
		}
		n := int(line[0]-' ') & 63
		var group []byte
		for i := 1; i < len(line); i += 4 {
			var c [4]byte
			for j := range c {
				if i+j < len(line) {
					c[j] = (line[i+j] - ' ') & 63
				}
			}
			group = append(group, c[0]<<2|c[1]>>4, c[1]<<4|c[2]>>2, c[2]<<6|c[3])
		}
		out = append(out, group[:min(n, len(group))]...)
	}
	return out
}

// EachInTar gives each file of a tar that is packed with gzip, but for tables (.tsv), which say what the others are.
func EachInTar(t testing.TB, path string, each func(name string, content []byte)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && !strings.HasSuffix(h.Name, ".tsv") {
			each(h.Name, content)
		}
	}
}
