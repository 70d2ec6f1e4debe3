//go:build accept

package accept

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/postern-mail/postern/internal/peertest"
)

// bomb is a message that costs those more than its size who look into it without a bound.
type bomb struct {
	message
	codes []int // exit status of scan: 0 deliver, 10 quarantine, 12 reject; or removal
}

var (
	refused = []int{12}
	heldUp  = []int{10, 12}
	any3    = []int{0, 10, 12}
	removed = []int{removal, 10, 12}
)

// removal stands for delivery without a part.
const removal = -1

// attached makes content a file of a message.
func attached(name string, content []byte) message {
	return wrapped([]message{{name, func() ([]byte, error) { return content, nil }}})[0]
}

// xzBomb is a GiB of zeros in 64 streams.
func xzBomb() ([]byte, error) {
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(make([]byte, 16<<20)); err != nil {
		return nil, err
	}
	err = w.Close()
	return bytes.Repeat(b.Bytes(), 64), err
}

// gzipBomb is ten gzip files inside one another, and zeros in the innermost.
func gzipBomb() ([]byte, error) {
	content := make([]byte, 64<<20)
	for range 10 {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		content = b.Bytes()
	}
	return content, nil
}

// crowdedZip is a zip file with 50,000 empty files.
func crowdedZip() ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range 50_000 {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%d.txt", i)}); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// widestZip is a zip file of a text of 200 KiB, of which it says that it has 64 MiB and wants as large a dictionary.
func widestZip() ([]byte, error) {
	const said = 64 << 20
	var packed, b bytes.Buffer
	lw, err := lzma.WriterConfig{DictCap: said, EOSMarker: true}.NewWriter(&packed)
	if err != nil {
		return nil, err
	}
	if _, err := lw.Write(bytes.Repeat([]byte("All that is gold does not glitter. "), 200<<10/35)); err != nil {
		return nil, err
	}
	if err := lw.Close(); err != nil {
		return nil, err
	}
	w := zip.NewWriter(&b)
	const method, marked = 14, 2 // LZMA, with a mark of its end
	entry := slices.Concat([]byte{9, 20, 5, 0}, packed.Bytes()[:5], packed.Bytes()[13:])
	for i := range 4 {
		e, err := w.CreateRaw(&zip.FileHeader{
			Name: fmt.Sprintf("%d.txt", i), Method: method, Flags: marked, CompressedSize64: uint64(len(entry)), UncompressedSize64: said,
		})
		if err == nil {
			_, err = e.Write(entry)
		}
		if err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes(), err
}

const mailHead = "From: a@client.test\nTo: b@bench.test\nSubject: depth\nMIME-Version: 1.0\n"

// deepMultipart nests multiparts; the innermost part is a text.
func deepMultipart(depth int) []byte {
	var b strings.Builder
	b.WriteString(mailHead)
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"<%d>\"\n\n--<%d>\n", i, i)
	}
	b.WriteString("Content-Type: text/plain\n\nend\n")
	for i := range depth {
		fmt.Fprintf(&b, "--<%d>--\n", depth-1-i)
	}
	return []byte(b.String())
}

// deepMail nests messages.
func deepMail(depth int) []byte {
	return []byte(strings.Repeat(mailHead+"Content-Type: message/rfc822\n\n", depth) + mailHead + "\nend\n")
}

// crowdedMail has a multipart of n parts.
func crowdedMail(n int) []byte {
	return []byte(mailHead + "Content-Type: multipart/mixed; boundary=x\n\n" + strings.Repeat("--x\nContent-Type: text/plain; name=a.txt\n\nA text.\n", n) + "--x--\n")
}

// repeated is a file of about 4 MiB made of the same octets over and over.
func repeated(what string) []byte { return bytes.Repeat([]byte(what), 4<<20/len(what)) }

func bombs(t *testing.T) []bomb {
	t.Helper()
	var all []bomb
	suite := func(codes []int, elem ...string) {
		path := peertest.Shared(t, append([]string{"suites", "attachments"}, elem...)...)
		all = append(all, bomb{wrapped([]message{file(filepath.Base(path), path)})[0], codes})
	}
	suite(any3, "generated", "bombs", "42.zip") // encrypted by a password, which is no reason to refuse
	suite(refused, "generated", "bombs", "overlap-full-1000x100MiB.zip")
	suite(refused, "generated", "bombs", "r-quine.zip")
	suite(refused, "generated", "bombs", "zeros-1GiB.gz")
	suite(refused, "tika-docs", "droste.zip")
	suite(refused, "tika-docs", "quine.gz")
	suite(refused, "go-zip-tar", "tar", "testdata", "gnu-sparse-many-zeros.tar.bz2")
	built := func(name string, codes []int, make func() ([]byte, error)) {
		b, err := make()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bomb{attached(name, b), codes})
	}
	built("a GiB of zeros.xz", refused, xzBomb)
	built("ten times packed.gz", refused, gzipBomb)
	built("50,000 files.zip", refused, crowdedZip)
	built("dictionaries of 64 MiB.zip", heldUp, widestZip)
	for name, what := range map[string]string{
		"local headers.zip": "PK\x03\x04\x14\x00\x00\x00", "ends.zip": "PK\x05\x06" + strings.Repeat("\x00", 18), "begins.txt": "begin 644 a.txt\n",
		"lines.txt": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\n", "tags.html": "<a href=\"data:,", "opened.html": "<div><script>",
		"groups.rtf": "{\\rtf1{\\object{\\*\\objdata 01", "objects.pdf": "%PDF-1.4\n1 0 obj<</Length 5 0 R/Filter[/FlateDecode/FlateDecode]>>stream\n",
		"entities.svg": "<svg><!ENTITY a \"&b;&b;\">&a;", "yenc.txt": "=ybegin line=128 size=9 name=a\n", "frames.zst": "(\xb5/\xfd\x20\x00\x01\x00\x00",
	} {
		all = append(all, bomb{attached(name, repeated(what)), any3})
	}
	raw := func(name string, codes []int, content []byte) {
		all = append(all, bomb{message{name, func() ([]byte, error) { return content, nil }}, codes})
	}
	for _, n := range []int{100, 1000, 10_000} {
		raw(fmt.Sprintf("multiparts in %d levels", n), heldUp, deepMultipart(n))
		raw(fmt.Sprintf("messages in %d levels", n), heldUp, deepMail(n))
	}
	raw("20,000 parts with names", heldUp, crowdedMail(20_000))
	// What lies beyond a limit does not pass, wherever the message lies.
	behind := bytes.Replace(crowdedMail(1500), []byte("--x--"), []byte("--x\nContent-Type: application/octet-stream; name=a.exe\n\nMZ\x90\n--x--"), 1)
	deep := bytes.Replace(deepMultipart(200), []byte("text/plain\n\nend"), []byte("application/octet-stream; name=a.exe\n\nMZ\x90"), 1)
	raw("a program behind 1,500 parts", removed, behind)
	raw("a program in 200 levels", removed, deep)
	for _, ext := range []string{".eml", ".dat"} {
		all = append(all, bomb{attached("a program behind 1,500 parts"+ext, behind), removed}, bomb{attached("a program in 200 levels"+ext, deep), removed})
	}
	for _, name := range []string{"multipart-depth-10.eml", "multipart-depth-100.eml", "multipart-depth-1000.eml", "parts-20000.eml", "rfc822-depth-10.eml"} {
		codes := heldUp
		if strings.HasSuffix(name, "-10.eml") {
			codes = any3
		}
		path := peertest.Shared(t, "suites", "attachments", "generated", "mime-deep", name)
		all = append(all, bomb{file(name, path), codes}, bomb{wrapped([]message{file(name+", attached", path)})[0], codes})
	}
	raw("100,000 header fields", any3, []byte(mailHead+strings.Repeat("X-A: b\n", 100_000)+"\nend\n"))
	raw("100,000 parameters", any3, []byte(mailHead+"Content-Type: text/plain"+strings.Repeat(";\n name=a.txt", 100_000)+"\n\nend\n"))
	raw("16 MiB of base64", []int{0}, []byte(mailHead+"Content-Type: image/bmp; name=a.bmp\nContent-Transfer-Encoding: base64\n\nQk0A"+
		strings.Repeat(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1, 2, 3}, 19))+"\n", 16<<20/77)))
	for name, text := range hostileTexts() {
		kind := "plain"
		if strings.HasSuffix(name, ".html") {
			kind = "html"
		}
		raw("a text of "+name, any3, []byte(mailHead+"Content-Type: text/"+kind+"; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"+text+"\n"))
	}
	page := "--x\nContent-Type: text/html\n\n" + strings.Repeat("<a href=\"http://a.example.com/x\">t</a><b>", 112) + "\n"
	raw("900 pages of links", any3, []byte(mailHead+"Content-Type: multipart/mixed; boundary=x\n\n"+strings.Repeat(page, 900)+"--x--\n"))
	slices.SortStableFunc(all, func(a, b bomb) int { return strings.Compare(a.name, b.name) })
	return all
}

// hostileTexts are texts of about 4 MiB of which those who read them as people do have more work than of others.
func hostileTexts() map[string]string {
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < 4<<20; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	all := map[string]string{
		"different links.html": numbered("<a href=\"http://h%[1]d.example.com/%[1]d\">t%[1]d</a>\n"), "different links.txt": numbered("http://h%[1]d.example.com/p/%[1]d\n"),
		"different addresses.txt": numbered("u%[1]d@h%[1]d.example.com\n"), "different words.txt": numbered("w%x "),
		"style rules.html": "<style>" + string(repeated(".a1{color:red;font-size:0}\n")) + "</style>" + strings.Repeat("<p class=a1>x", 80_000),
	}
	for name, what := range map[string]string{
		"lines.txt": "\n", "blanks.txt": " ", "one word.txt": "x", "dots.txt": "a.", "wide letters.txt": "\uff41\u202e\u200b\u0430", "ideographs.txt": "\u4f60\u597d",
		"offers.txt": "million dollars USD $1,000,000 click here dear friend verify your account ",
		"tags.html":  "<a href=\"data:,", "scripts.html": "<div><script>", "elements.html": "<div style='color:red'><b><font size=1>x ", "tables.html": "<table><tr><td>",
		"links.html": "<a href=\"http://a.example.com/x?y=1\">www.b.example.org</a> ", "images.html": "<img src=http://a.example/ width=1 height=1>",
		"references.html": "&#65;&amp;&lt;&zwnj;",
	} {
		all[name] = string(repeated(what))
	}
	return all
}

var classSymbol = regexp.MustCompile(`"symbol": "((?:ATTACHMENT|MIME)_[A-Z_]+)"`)

// Nothing costs more than 2 seconds of processor time and 256 MiB, whatever it would unpack to, with the filters that a gateway has
// by default.
func TestBombs(t *testing.T) {
	config := scanConfigOf(t, "")
	starter := newStarter(t)
	in := filepath.Join(t.TempDir(), "in")
	var rows [][]string
	for _, b := range bombs(t) {
		raw, err := b.read()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := starter.scan(binary(t), config, in)
		if err != nil {
			t.Fatal(err)
		}
		var symbols []string
		for _, m := range classSymbol.FindAllSubmatch(s.Out, -1) {
			if !slices.Contains(symbols, string(m[1])) {
				symbols = append(symbols, string(m[1]))
			}
		}
		code := s.Code
		if code == 0 && slices.Contains(symbols, "ATTACHMENT_REMOVED") && !slices.Contains(b.codes, 0) {
			code = removal
		}
		var g goals
		g.want(t, slices.Contains(b.codes, code), "another action", "%s: exit %d, not one of %d: %v %s", b.name, code, b.codes, symbols, s.Err)
		g.want(t, s.CPU <= 2*time.Second && s.RSS <= 256<<20, "2 s and 256 MiB", "%s: %v of processor time, %d MiB", b.name, s.CPU, s.RSS>>20)
		rows = append(rows, []string{
			b.name, fmt.Sprint(len(raw)), map[int]string{0: "deliver", 10: "quarantine", 11: "defer", 12: "reject"}[s.Code],
			strings.Join(symbols, ", "), fmt.Sprint(s.CPU.Milliseconds()), fmt.Sprint(s.RSS >> 20), g.String(),
		})
		t.Log(strings.Join(rows[len(rows)-1], " | "))
	}
	table(t, "Bombs, each by a process of its own", "postern scan --json --out OUT MSG",
		[]string{"message", "octets", "action", "findings", "processor time, ms", "peak memory, MiB", "goals"}, rows)
}

// TestBombsAtOnce sends messages that make those work who read them, by 50 sessions at once. That they come together makes nobody take
// more memory: what all filters take is bounded.
func TestBombsAtOnce(t *testing.T) {
	bin := loadkit(t)
	dir := t.TempDir()
	page := "<div><script>"
	texts := hostileTexts()
	for _, name := range []string{"lines.txt", "scripts.html", "style rules.html", "ideographs.txt"} {
		kind := "plain"
		if strings.HasSuffix(name, ".html") {
			kind = "html"
		}
		head := mailHead + "Content-Type: text/" + kind + "; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
		if err := os.WriteFile(filepath.Join(dir, name+".eml"), []byte(head+texts[name]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	large, err := attached("page.html", bytes.Repeat([]byte(page), 24<<20/len(page))).read()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "page.eml"), large, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	packed, err := widestZip()
	if err == nil {
		packed, err = attached("dictionaries.zip", packed).read()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "dictionaries.eml"), packed, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	s := startSink(t, bin)
	p := start(t, s.addr, "dns: {servers: [\"127.0.0.1:9\"]}\npolicies: {default: {observe: true}}\n")
	l := runLoad(t, bin, p.addr, "-s", fmt.Sprint(n), "-m", fmt.Sprint(n), "-dir", dir, "-maxtime", "300s", "-timeout", "300s")
	peak := peakRSS(t, p.cmd.Process.Pid)
	_, unique, _ := s.stop(t)
	var g goals
	g.want(t, unique == n && l.OK == n, "all arrive", "acknowledged %d, arrived %d of %d: %s", l.OK, unique, n, l)
	g.want(t, peak <= 512<<20, "512 MiB", "peak resident memory %d MiB, more than 512", peak>>20)
	table(t, "50 messages at once that make those work who read them, with the filters that are there by default",
		"go test -tags accept -run TestBombsAtOnce ./internal/accept: smtpload -s 50 -m 50, a sixth each: 4 MiB of line ends, of elements of script, of style rules, of ideographs, a page of 24 MiB, a zip file with dictionaries of 64 MiB",
		[]string{"arrived", "peak resident memory, MiB", "messages/s", "replies", "goals"},
		[][]string{{fmt.Sprint(unique), fmt.Sprint(peak >> 20), fmt.Sprintf("%.1f", n/l.Wall), l.String(), g.String()}})
}
