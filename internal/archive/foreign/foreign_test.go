package foreign

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

func TestDetect(t *testing.T) {
	arj := "\x60\xea\x2b\x00\x22\x0b\x01\x0b\x10\x00\x02\x0b" + strings.Repeat("\x00", 20)
	lha := "\x20\x00-lh5-" + strings.Repeat("\x00", 13) + "\x01" + strings.Repeat("\x00", 10)
	arc := "\x1a\x08NAME.TXT\x00" + strings.Repeat("\x00", 20)
	for _, c := range []struct{ head, want string }{
		{arj, "an ARJ archive"},
		{lha, "an LHA archive"},
		{strings.Replace(lha, "lh5", "lh0", 1), "an LHA archive"},
		{strings.Replace(lha, "lh5", "pm2", 1), "an LHA archive"},
		{arc, "an ARC archive"},
		{"\x00\x00\x00\x00\x00\x00\x00**ACE**\x14", "an ACE archive"},
		{"ZOO 2.10 Archive.\x1a\x00\x00\xdc\xa7\xc4\xfd", "a ZOO archive"},
		{"xar!\x00\x1c", "a XAR archive"},
		{"hsqs\x01\x00\x00\x00", "a SquashFS image"},
		{"MSWIM\x00\x00\x00\xd0", "a Windows image"},
		{"SZDD\x88\xf0\x27\x33\x41", "a file packed by COMPRESS.EXE"},
		{"", ""},
		{"text", ""},
		{arj[:8], ""},
		{lha[:20], ""},
		{"\x1a\x08a name with blanks", ""},
		{"\x60\xea\x00\x00" + strings.Repeat("\x00", 30), ""},
		{"a -lh5- in a text, at the start of it", ""},
		{"PK\x03\x04", ""},
		{"MZ\x90\x00", ""},
	} {
		if got := Detect([]byte(c.head)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.head, got, c.want)
		}
	}
}

func TestWalk(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"xar!\x00\x1c", "a XAR archive, which is not looked into"},
		{"anything", "a container of an unknown form, which is not looked into"},
	} {
		found := telltest.Walk(t, Walk, []byte(c.data))
		if len(found.Entries) > 0 || len(found.Signs) != 1 || found.Signs[0] != (archive.Sign{Kind: archive.Unreadable, Why: c.want}) {
			t.Error(found)
		}
	}
}

// The files of the suites are known, and no other file of them is taken for one.
func TestSuites(t *testing.T) {
	dir := peertest.Shared(t, "suites", "attachments")
	known, others := 0, 0
	for _, pattern := range []string{"corkami-minimal-types/*", "libarchive/*.uu", "tika-docs/*", "corkami-zip/*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if info, err := os.Stat(path); err != nil || info.IsDir() {
				continue
			}
			data := telltest.ReadFile(t, path)
			want := false
			for _, s := range []string{".arj", ".xar", ".lzh", "lzo"} {
				want = want || strings.Contains(filepath.Base(path), s)
			}
			if got := Detect(data); (got != "") != want {
				t.Errorf("%s: %q", path, got)
			}
			if want {
				known++
			} else {
				others++
			}
		}
	}
	t.Logf("%d known, %d others", known, others)
	if known < 10 || others < 200 {
		t.Errorf("%d known, %d others", known, others)
	}
}

// The containers of ClamAV's test files that are not looked into are known.
func TestClamAV(t *testing.T) {
	dir := filepath.Join(peertest.Root(t), "usr/share/clamav-testfiles")
	for _, name := range []string{"clam.arj", "clam.exe.szdd", "clam.chm", "clam.sis"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !Is(data) {
			t.Errorf("%s is not known", name)
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("\x60\xea\x2b\x00\x22\x0b\x01\x0b\x10\x00\x02\x0b"))
	f.Add([]byte("\x20\x00-lh5-\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x1a\x08NAME.TXT\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if name := Detect(data); name != "" && len(data) < 3 {
			t.Errorf("%q of %q", name, data)
		}
	})
}
