package attachments

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// TestDetectSuite reads a public set of minimal files of every type: no format that is not a program or a disk
// image is taken for one, and what holds other files is known.
func TestDetectSuite(t *testing.T) {
	dir := peertest.Shared(t, "suites/attachments/corkami-minimal-types")
	want := map[string]class{"java.class": executable, "iso.iso": diskImage}
	types := map[string]string{
		"7-zip.7z": "application/x-7z-compressed", "archive.ar": "application/x-archive", "arj.arj": "application/x-arj",
		"ascii.cpio": "application/x-cpio", "binary.cpio": "application/x-cpio", "bzip2.bz2": "application/x-bzip2",
		"cab.cab": "application/vnd.ms-cab-compressed", "gzip.gz": "application/gzip", "iso.iso": "application/x-iso9660-image",
		"lz4.lz4": "application/x-lz4", "mini.xar": "application/x-xar", "pdf.pdf": "application/pdf", "rar14.rar": "application/vnd.rar",
		"rar4.rar": "application/vnd.rar", "rar5.rar": "application/vnd.rar", "rich.rtf": "application/rtf", "svg.svg": "image/svg+xml",
		"tar.tar": "application/x-tar", "xz.xz": "application/x-xz", "zip.zip": "application/zip", "zstandard.zst": "application/zstd",
		"png.png": "image/png", "gif89.gif": "image/gif", "jpg.jpg": "image/jpeg", "webp.webp": "image/webp", "heic.heic": "image/heic",
		"mp4.mp4": "video/mp4", "id3v1.mp3": "audio/mpeg", "id3v2.mp3": "audio/mpeg", "riff.wav": "audio/vnd.wave", "ico.ico": "image/vnd.microsoft.icon",
	}
	for _, file := range files(t, dir) {
		name := filepath.Base(file)
		head, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		k := detect(head[:min(len(head), headSize)], false)
		w := want[name]
		if strings.HasPrefix(name, "pe") || strings.HasPrefix(name, "elf") || strings.HasPrefix(name, "mach") {
			w = executable
		}
		if k.class != w {
			t.Errorf("%s: %+v, want %q", name, k, w)
		}
		if ty := types[name]; ty != "" && k.mediaType != ty {
			t.Errorf("%s: %q, want %q", name, k.mediaType, ty)
		}
		delete(types, name)
	}
	if len(types) > 0 {
		t.Errorf("not in the suite: %v", types)
	}
}

// TestDetectHam judges every part of the honest messages of the corpora as if it were an attachment, bodies too. What is
// found in them are two scripts and a shortcut that people have sent to one another, and nothing else.
func TestDetectHam(t *testing.T) {
	want := []string{
		`script "rotate"`,
		`script "swasort"`,
		`shortcut "Liberalism in America.url"`,
	}
	var found []string
	messages, parts := 0, 0
	for _, name := range []string{"spamassassin-ham.tar.gz", "csdmc2010-new-ham.tar.gz"} {
		eachMessage(t, peertest.Shared(t, "suites/spam", name), func(c *mail.Content) {
			messages++
			c.Root().Walk(func(p *mail.Part) bool {
				if !p.IsLeaf() {
					return true
				}
				parts++
				head, err := io.ReadAll(io.LimitReader(p.Open(), headSize))
				if err != nil {
					t.Fatal(err)
				}
				if k := detect(head, false); k.class != "" {
					found = append(found, fmt.Sprintf("%s %q", k.class, strings.Join(p.Names, " ")))
				}
				if k := detect(head, true); k.class != "" {
					t.Errorf("as text body: %+v", k)
				}
				return true
			})
		})
	}
	slices.Sort(found)
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if messages < 2500 {
		t.Errorf("only %d messages", messages)
	}
	t.Logf("%d messages, %d parts, found %d", messages, parts, len(found))
}

// eachMessage reads the messages of a packed corpus.
func eachMessage(t *testing.T, path string, visit func(*mail.Content)) {
	t.Helper()
	for _, raw := range peertest.Packed(t, path) {
		in := mail.NewIngest(mail.IngestOptions{})
		if _, err := io.Copy(in, bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		blob, faults, err := in.Blob()
		if err != nil {
			t.Fatal(err)
		}
		c := mail.NewContent(blob, faults, mail.Limits{})
		visit(c)
		c.Release()
	}
}
