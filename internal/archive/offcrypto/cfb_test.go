package offcrypto

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode/utf16"
)

// readStreams reads the streams of a small, sound OLE2 file (MS-CFB), of all storages, by their names.
func readStreams(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sector := 1 << le.Uint16(f[30:])
	at := func(n uint32) []byte { return f[min(len(f), (int(n)+1)*sector):min(len(f), (int(n)+2)*sector)] }
	var fat []byte
	for i := range 109 {
		if n := le.Uint32(f[76+4*i:]); n < 0xfffffffa {
			fat = append(fat, at(n)...)
		}
	}
	chain := func(n uint32) (out []byte) {
		for n < 0xfffffffa && len(out) <= len(f) {
			out = append(out, at(n)...)
			n = le.Uint32(fat[4*n:])
		}
		return out
	}
	dir, miniFAT := chain(le.Uint32(f[48:])), chain(le.Uint32(f[60:]))
	mini := chain(le.Uint32(dir[116:]))
	streams := map[string][]byte{}
	for ; len(dir) >= 128; dir = dir[128:] {
		if dir[66] != 2 {
			continue
		}
		var name []uint16
		for i := 0; i < int(le.Uint16(dir[64:]))-2; i += 2 {
			name = append(name, le.Uint16(dir[i:]))
		}
		start, size := le.Uint32(dir[116:]), int(le.Uint32(dir[120:]))
		var content []byte
		if size >= 4096 {
			content = chain(start)
		} else {
			for n := start; n < 0xfffffffa && len(content) < size; n = le.Uint32(miniFAT[4*n:]) {
				content = append(content, mini[64*n:64*n+64]...)
			}
		}
		streams[string(utf16.Decode(name))] = content[:size]
	}
	return streams
}

// isZip reports whether p is a zip file that has the first part of every Office document.
func isZip(p []byte) bool {
	return bytes.HasPrefix(p, []byte("PK\x03\x04")) && strings.Contains(string(p), "[Content_Types].xml")
}
