//go:build !race

package mail

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// Real and hostile messages become what the reference makes of them, however they are cut.
func TestIngestCorpus(t *testing.T) {
	messages := 0
	for _, suite := range []string{"mime", "mime-ambiguity"} {
		err := filepath.WalkDir(peertest.Shared(t, "suites", suite), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			in, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			messages++
			want, wantFaults := canonical(in, true)
			for _, chunk := range []int{len(in) + 1, 4093, 61} {
				var chunks [][]byte
				for rest := in; len(rest) > 0; {
					n := min(chunk, len(rest))
					chunks, rest = append(chunks, rest[:n]), rest[n:]
				}
				got, faults := ingest(t, IngestOptions{Unstuff: true}, chunks...)
				if !bytes.Equal(got, want) || faults != wantFaults {
					t.Errorf("%s in chunks of %d: %d octets, %+v; want %d, %+v", path, chunk, len(got), faults, len(want), wantFaults)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if messages < 100 {
		t.Errorf("only %d messages", messages)
	}
}

// Every sequence of line ends, dots, NULs and text up to seven octets becomes what the reference makes of
// it, whole or octet by octet. What some server takes for the end of data is among them; once stuffed for
// the next hop (RFC 5321 4.5.2) none of them is one any more.
func TestIngestAllShortSequences(t *testing.T) {
	const alphabet = "\r\n.a\x00"
	var try func(in []byte)
	try = func(in []byte) {
		for _, unstuff := range []bool{false, true} {
			o := IngestOptions{Unstuff: unstuff}
			want, wantFaults := canonical(in, unstuff)
			var octets [][]byte
			for i := range in {
				octets = append(octets, in[i:i+1])
			}
			for _, chunks := range [][][]byte{{in}, octets} {
				if got, faults := ingest(t, o, chunks...); !bytes.Equal(got, want) || faults != wantFaults {
					t.Fatalf("%q in %d writes: got %q, %+v; want %q, %+v", in, len(chunks), got, faults, want, wantFaults)
				}
			}
			if _, faults := canonical(want, false); faults.BareCR+faults.BareLF != 0 {
				t.Fatalf("%q became %q, which is not canonical", in, want)
			}
			stuffed := bytes.ReplaceAll(append([]byte("\r\n"), want...), []byte("\r\n."), []byte("\r\n.."))
			if bytes.Contains(stuffed, []byte("\r\n.\r\n")) {
				t.Fatalf("%q ends the data as %q", in, stuffed)
			}
		}
		if len(in) < 7 {
			for i := range alphabet {
				try(append(in[:len(in):len(in)], alphabet[i]))
			}
		}
	}
	try(nil)
}
