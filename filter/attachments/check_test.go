package attachments

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// wrapped makes a message with a text and one attachment.
func wrapped(name string, content []byte) string {
	var b strings.Builder
	b.WriteString("From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=wrap\r\n\r\n" +
		"--wrap\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--wrap\r\nContent-Type: application/octet-stream\r\n" +
		"Content-Transfer-Encoding: base64\r\n")
	fmt.Fprintf(&b, "Content-Disposition: attachment; filename=%q\r\n\r\n", name)
	encoded := base64.StdEncoding.EncodeToString(content)
	for len(encoded) > 76 {
		b.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	b.WriteString(encoded + "\r\n--wrap--\r\n")
	return b.String()
}

// check runs the filter, and carries out what it asks for.
func check(t testing.TB, f filter.Filter, message string) (filter.Result, string) {
	t.Helper()
	in := input(t, message)
	res, err := f.Check(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return res, rewritten(t, in.Content, res.Edits, res.Rebuild)
}

func symbolsOf(res filter.Result) map[string]bool {
	m := map[string]bool{}
	for _, f := range res.Findings {
		m[f.Symbol] = true
	}
	return m
}

func TestFacts(t *testing.T) {
	content := bytes.Repeat([]byte("MZ harmless "), 20000)
	for _, keep := range []bool{true, false} {
		res, out := check(t, newChecker(t, fmt.Sprintf("keep_original: %v", keep)), wrapped("a.exe", content))
		if got, ok := auth.KeepOriginal.Among(res.Facts); !ok || got != keep {
			t.Errorf("keep original: %v, %v", got, ok)
		}
		parts, _ := auth.Parts.Among(res.Facts)
		want := auth.PartReport{
			Path: "2", Type: "application/octet-stream", Names: []string{"a.exe"}, Size: int64(len(content)),
			SHA256: parts[2].SHA256, Class: "executable", Reason: "it is a DOS or Windows program; the file name ends in .exe", Action: "strip", By: auth.PartByContent,
		}
		if d := cmp.Diff(want, parts[2]); d != "" || len(parts) != 3 {
			t.Errorf("-want +got\n%s", d)
		}
		if len(parts[2].SHA256) != 64 || !strings.Contains(out, parts[2].SHA256) {
			t.Errorf("the notice lacks the sum %q:\n%s", parts[2].SHA256, out)
		}
		if strings.Contains(out, "has been kept") != keep {
			t.Errorf("keep %v, notice:\n%s", keep, out)
		}
	}
}

// TestFactIsBounded: the fact has few of many names and parts, and the one part that matters, which is judged by the
// name that the fact leaves out.
func TestFactIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
	const many = 900
	for i := range many {
		fmt.Fprintf(&b, "--b\r\nContent-Type: application/%s\r\nContent-Disposition: attachment", strings.Repeat("x", 200*(1+i/800)))
		for j := range 8 {
			name := fmt.Sprintf("%d-%s.txt", j, strings.Repeat("ä", 20*(1+i/800*9)))
			if i == many-1 && j == 7 {
				name = "a.exe"
			}
			fmt.Fprintf(&b, ";\r\n filename=%q", name)
		}
		b.WriteString("\r\n\r\nx\r\n")
	}
	b.WriteString("--b--\r\n")
	in := input(t, b.String())
	res, err := newChecker(t, "").Check(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(in.Content.Root().Children); n != many {
		t.Fatalf("%d parts", n)
	}
	parts, _ := auth.Parts.Among(res.Facts)
	if len(parts) != maxReports+1 {
		t.Fatalf("%d reports", len(parts))
	}
	for _, p := range parts {
		if len(p.Names) > maxReportNames || len(p.Type) > maxReportText {
			t.Errorf("part %s: %d names, type of %d octets", p.Path, len(p.Names), len(p.Type))
		}
		for _, n := range p.Names {
			if len(n) > maxReportText || !strings.HasSuffix(n, ".txt") {
				t.Errorf("part %s: name %q", p.Path, n)
			}
		}
	}
	if last := parts[maxReports-1]; last.Path != strconv.Itoa(many) || last.Action != "strip" || !strings.Contains(last.Names[0], "…") {
		t.Errorf("%+v", last)
	}
	want := auth.PartReport{Names: []string{}, Size: many - maxReports + 1, Reason: "and 401 more parts", Action: "pass"}
	if d := cmp.Diff(want, parts[maxReports]); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestBounded(t *testing.T) {
	reports := make([]auth.PartReport, 600)
	for i := range reports {
		reports[i].Action = []string{"tag", "strip"}[i/550]
	}
	got := bounded(reports)
	if last := got[len(got)-1]; len(got) != maxReports+1 || last.Action != "strip" || last.Reason != "and 100 more parts" {
		t.Errorf("%d reports, %+v", len(got), last)
	}
}

// TestUnseenIsNotClean: what lies behind a limit is not called clean, and nobody is refused for it.
func TestUnseenIsNotClean(t *testing.T) {
	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 1500) + "--b--\r\n"
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 80) + "\r\nx\r\n"
	wide := strings.Repeat("X-Filler: x\r\n", 3000) + "Content-Type: application/octet-stream; name=a.exe\r\n\r\nx\r\n"
	for name, message := range map[string]string{"parts": many, "depth": deep, "fields": wide} {
		t.Run(name, func(t *testing.T) {
			res, _ := check(t, newChecker(t, ""), message)
			if res.Propose != filter.Quarantine || res.Reply != nil || !symbolsOf(res)["ATTACHMENT_UNREADABLE"] {
				t.Errorf("%s, %v, %v", res.Propose, res.Reply, res.Findings)
			}
		})
	}
}

func TestCouldNotTell(t *testing.T) {
	f := newChecker(t, "")
	t.Run("released", func(t *testing.T) {
		c := mail.NewContent(mail.NewBlob([]byte(wrapped("a.exe", []byte("MZ")))), mail.LineFaults{}, mail.Limits{})
		c.Release()
		if res, err := f.Check(context.Background(), &filter.Input{Content: c}); err == nil {
			t.Errorf("%+v", res)
		}
	})
	t.Run("released after the index", func(t *testing.T) {
		c := mail.NewContent(mail.NewBlob([]byte(wrapped("a.exe", []byte("MZ")))), mail.LineFaults{}, mail.Limits{})
		c.Root()
		c.Release()
		if res, err := f.Check(context.Background(), &filter.Input{Content: c}); !errors.Is(err, mail.ErrReleased) {
			t.Errorf("%+v, %v", res, err)
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		in := input(t, wrapped("a.exe", make([]byte, 1<<20)))
		if res, err := f.Check(ctx, in); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", res, err)
		}
	})
	t.Run("no content", func(t *testing.T) {
		if _, err := f.Check(context.Background(), &filter.Input{}); err == nil {
			t.Error("no error")
		}
	})
}

// TestMentionsAreBounded: a thousand parts give no thousand findings, and score once.
func TestMentionsAreBounded(t *testing.T) {
	message := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
		strings.Repeat("--b\r\nContent-Type: text/plain; name=a.pdf.exe\r\n\r\nx\r\n", 900) + "--b--\r\n"
	res, out := check(t, newChecker(t, ""), message)
	scored := map[string]float64{}
	for _, f := range res.Findings {
		scored[f.Symbol] += f.Strength
	}
	want := map[string]float64{"ATTACHMENT_EXECUTABLE": 1, "ATTACHMENT_REMOVED": 1, "DOUBLE_EXTENSION": 1}
	if d := cmp.Diff(want, scored); d != "" || len(res.Findings) != 3*maxMentions {
		t.Errorf("%d findings, -want +got\n%s", len(res.Findings), d)
	}
	if len(res.Edits) != 900 || strings.Contains(out, "name=a.pdf.exe") {
		t.Errorf("%d edits", len(res.Edits))
	}
}

// TestNestingDoesNotMultiply: a message in a message in a message, each under the name of a program, is
// read once and goes at once.
func TestNestingDoesNotMultiply(t *testing.T) {
	message := strings.Repeat("Content-Type: message/rfc822; name=a.exe\r\n\r\n", 40) + "\r\n" + strings.Repeat("x\r\n", 1000)
	res, out := check(t, newChecker(t, ""), message)
	if len(res.Edits) != 1 || strings.Contains(out, "x\r\nx\r\n") {
		t.Errorf("%d edits, %d octets", len(res.Edits), len(out))
	}
}

// TestOwnNotice: an administrator's template is used.
func TestOwnNotice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notice")
	text := "{{.Gateway}} entfernte{{range .Files}} {{.Name}} ({{.Class}}, {{.Reason}}){{end}}. Zurück: {{.Postmaster}} {{.ID}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out := check(t, newChecker(t, "notice: "+file), wrapped("a.exe", []byte("x")))
	want := "mx.example.org entfernte a.exe (executable, the file name ends in .exe). Zu=\r\n" +
		"r=C3=BCck: postmaster@example.org mx-0123456789\r\n"
	if !strings.Contains(out, want) || !strings.Contains(out, "Content-Transfer-Encoding: quoted-printable\r\n") {
		t.Errorf("got:\n%s", out)
	}
}

// TestStripConverges: whatever tree of parts a message is, after the edits nothing is left that would be
// stripped, no edit lies inside another, and what is delivered can be stripped again without effect.
func TestStripConverges(t *testing.T) {
	f := newChecker(t, "")
	rapid.Check(t, func(r *rapid.T) {
		message := "From: a@example.com\r\nMIME-Version: 1.0\r\n" + drawPart(r, 0)
		in := input(t, message)
		res, err := f.Check(context.Background(), in)
		if err != nil {
			r.Fatal(err)
		}
		paths := map[string]bool{}
		for _, e := range res.Edits {
			p := in.Content.Part(e.(mail.ReplacePart).Path)
			if paths[p.Path] {
				r.Fatalf("part %s is replaced twice", p.Path)
			}
			paths[p.Path] = true
		}
		for path := range paths {
			for a := in.Content.Part(path).Parent; a != nil; a = a.Parent {
				if paths[a.Path] {
					r.Fatalf("part %s is replaced inside %s", path, a.Path)
				}
			}
		}
		out := rewritten(t, in.Content, res.Edits, res.Rebuild)
		if len(res.Edits) == 0 && out != message {
			r.Fatal("changed without an edit")
		}
		again, err := f.Check(context.Background(), input(t, out))
		if err != nil || len(again.Edits) != 0 {
			r.Fatalf("again: %v, %v\n%s\nwas\n%s", again.Findings, err, out, message)
		}
	})
}

var partNumber int

// drawPart draws a part with its header fields, down to three levels.
func drawPart(r *rapid.T, depth int) string {
	kinds := []string{"text", "file", "file", "mixed", "signed", "message"}
	if depth == 3 {
		kinds = kinds[:3]
	}
	switch kind := rapid.SampledFrom(kinds).Draw(r, "kind"); kind {
	case "text":
		return "Content-Type: text/plain\r\n\r\n" + rapid.SampledFrom([]string{"hello", "#!/bin/sh", "MZ"}).Draw(r, "text")
	case "file":
		name := rapid.SampledFrom([]string{"a.txt", "a.exe", "b.js", "c.pdf", "d.url"}).Draw(r, "name")
		return "Content-Type: application/octet-stream; name=" + name + "\r\n\r\n" +
			rapid.SampledFrom([]string{"hello", "#!/bin/sh", "MZ"}).Draw(r, "content")
	case "message":
		return "Content-Type: message/rfc822" + rapid.SampledFrom([]string{"", "; name=m.eml", "; name=m.cmd"}).Draw(r, "name") +
			"\r\n\r\nSubject: inner\r\n" + drawPart(r, depth+1)
	default:
		partNumber++
		boundary := fmt.Sprintf("b%d", partNumber)
		var b strings.Builder
		fmt.Fprintf(&b, "Content-Type: multipart/%s; boundary=%s\r\n\r\n", kind, boundary)
		for range rapid.IntRange(1, 3).Draw(r, "parts") {
			fmt.Fprintf(&b, "--%s\r\n%s\r\n", boundary, drawPart(r, depth+1))
		}
		return b.String() + "--" + boundary + "--"
	}
}

// TestSuites sends the public suites through the filter: the mail as it is, the files as attachments.
func TestSuites(t *testing.T) {
	f := newChecker(t, "")
	for _, suite := range []struct {
		dir  string
		wrap bool
	}{{"suites/mime", false}, {"suites/mime-ambiguity", false}, {"suites/attachments", true}} {
		t.Run(suite.dir, func(t *testing.T) {
			var removed, quarantined, total int
			for _, file := range files(t, peertest.Shared(t, suite.dir)) {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				message := string(raw)
				if suite.wrap {
					message = wrapped(filepath.Base(file), raw)
				} else if !strings.Contains(message, "\r\n") {
					message = strings.ReplaceAll(message, "\n", "\r\n")
				}
				began := time.Now()
				res, _ := check(t, f, message)
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("%s took %s", file, took)
				}
				total++
				if len(res.Edits) > 0 {
					removed++
				}
				if res.Propose >= filter.Quarantine {
					quarantined++
				}
				if testing.Verbose() {
					for _, x := range res.Findings {
						t.Logf("%s: %s %s", filepath.Base(file), x.Symbol, x.Detail)
					}
				}
			}
			t.Logf("%d messages, %d with a part removed, %d for quarantine", total, removed, quarantined)
			if total < 50 || removed == 0 {
				t.Errorf("%d messages, %d with a part removed", total, removed)
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	f := newChecker(b, "")
	for name, content := range map[string][]byte{
		"clean 1 MB":   bytes.Repeat([]byte("harmless"), 1<<17),
		"program 1 MB": append([]byte("MZ"), bytes.Repeat([]byte("harmless"), 1<<17)...),
		"clean 1 KB":   bytes.Repeat([]byte("harmless"), 1<<7),
	} {
		b.Run(name, func(b *testing.B) {
			in := input(b, wrapped("report.dat", content))
			in.Content.Root()
			b.SetBytes(in.Content.Blob().Size())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Check(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// files lists the regular files below a folder.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	return all
}

// TestUnpackLimits: the limits that a message runs into are told by name, each once.
func TestUnpackLimits(t *testing.T) {
	inner := "x"
	for range 3 {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range []string{"a.zip", "b.zip"} {
			w, err := z.Create(name)
			if err == nil {
				_, err = io.WriteString(w, inner)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		inner = b.String()
	}
	message := "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(inner)) + "\r\n"
	for bounds, want := range map[string][]string{
		"{}": nil, "{depth: 2}": {auth.LimitDepth}, "{files: 3}": {auth.LimitFiles}, "{octets: 20}": {auth.LimitOctets},
	} {
		res, err := newChecker(t, "archives: "+bounds).Check(t.Context(), input(t, message))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := auth.UnpackLimits.Among(res.Facts); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", bounds, got, want)
		}
	}
}

// TestDecidedBy: of each part it is told by what it was decided what becomes of it.
func TestDecidedBy(t *testing.T) {
	var b strings.Builder
	part := func(mediaType, name, content string) {
		fmt.Fprintf(&b, "--bb\r\nContent-Type: %s\r\nContent-Disposition: attachment; filename=%q\r\n\r\n%s\r\n", mediaType, name, content)
	}
	part("application/octet-stream", "a.dat", "MZ\x90\x01")
	part("application/octet-stream", "a.js", "x")
	part("application/octet-stream", "a.foo", "x")
	part("application/x-bar", "a.bar", "x")
	part("application/octet-stream", "a.tgz", "x")
	part("text/plain", "a.txt", "x")
	message := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n" + b.String() + "--bb--\r\n"
	res, err := newChecker(t, `{names: {"*.foo": strip}, types: {application/x-bar: tag}}`).Check(t.Context(), input(t, message))
	if err != nil {
		t.Fatal(err)
	}
	parts, _ := auth.Parts.Among(res.Facts)
	var got []string
	for _, p := range parts {
		got = append(got, p.By)
	}
	if want := []string{"", auth.PartByContent, auth.PartByName, auth.PartByNameRule, auth.PartByTypeRule, "", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
