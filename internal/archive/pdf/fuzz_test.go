package pdf

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// counter is a visitor that counts, and reads what it is given.
type counter struct {
	signs, files int
	octets       int64
}

func (c *counter) Sign(archive.Sign) error {
	c.signs++
	return nil
}

func (c *counter) File(e *archive.Entry) error {
	c.files++
	if e.File == nil {
		return nil
	}
	c.octets += e.File.Size()
	_, err := io.Copy(io.Discard, e.File.Reader())
	return err
}

// FuzzWalk walks anything: nothing but the budget bounds the work, and no error is the content's.
func FuzzWalk(f *testing.F) {
	for _, name := range []string{"plain", "enc40", "enc128", "enc128aes", "enc256", "enc256r5", "pw40"} {
		f.Add([]byte(read(f, name)))
	}
	f.Add([]byte(file("1 0 obj << /Open#41ction << /S /JavaScript /JS (app.alert\\(1\\)) >> /AA << /O << /S /URI /URI (x) >> >> >>")))
	f.Add([]byte(file(objectStream(5, "/Filter [/AHx /Fl]", func(s string) string { return toHex(deflate(s)) }, "<< /S /Launch /F (x) >>"))))
	f.Add([]byte(file(objectStream(5, "/Filter 6 0 R /DecodeParms [<< /Predictor 12 /Columns 8 >>]", func(s string) string { return deflate(toRows(s)) }, "<< /XFA 1 0 R >>"), "6 0 obj [/FlateDecode]")))
	f.Add([]byte(file(objectStream(5, "/Filter /LZW", toLZW, "<< /JS (x) >>"), stream(6, "/Filter /RL", toRuns("abc")), stream(7, "/Filter /A85", to85("abc")))))
	f.Add([]byte(file("4 0 obj << /F (a) /UF <FEFF0061> /EF << /F 5 0 R >> /RF << /F [(b) 5 0 R] >> >>", stream(5, "/Type /EmbeddedFile", "one"))))
	f.Add([]byte(file("1 0 obj << /XFA [(a) 5 0 R] /EmbeddedFiles << /Kids [1 0 R] /Names [(a) 1 0 R] >> >>", stream(5, "", "<script>"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		c := &counter{}
		budget := archive.NewBudget(archive.Limits{Octets: limit, Files: 100, Dir: t.TempDir()}, int64(len(in)))
		if err := Walk(context.Background(), archive.NewFile(in), budget, c); err != nil {
			t.Fatal(err)
		}
		if c.octets > limit || c.files > 100 || c.signs > tell.Most {
			t.Fatalf("%+v", c)
		}
		Is(in)
	})
}

// FuzzFilter decodes anything with any filter: it ends, and makes no more of its input than the filter can.
func FuzzFilter(f *testing.F) {
	f.Add(byte(0), byte(12), []byte(deflate(toRows("hello, hello, hello"))))
	f.Add(byte(1), byte(0), []byte(toLZW("hello, hello, hello")))
	f.Add(byte(1), byte(2), []byte(toLZW("hello, hello, hello")))
	f.Add(byte(2), byte(0), []byte(toHex("hello")))
	f.Add(byte(3), byte(0), []byte(to85("hello")))
	f.Add(byte(4), byte(0), []byte(toRuns("heeeello")))
	f.Fuzz(func(t *testing.T, kind, predictor byte, in []byte) {
		names := []string{"FlateDecode", "LZWDecode", "ASCIIHexDecode", "ASCII85Decode", "RunLengthDecode"}
		file := archive.NewFile(in)
		budget := archive.NewBudget(archive.Limits{Octets: 1 << 20, Dir: t.TempDir()}, int64(len(in)))
		w := &walker{ctx: context.Background(), budget: budget}
		parms := value{kind: dictionary, kids: []value{
			{kind: name, s: "Predictor"},
			{kind: integer, n: int64(predictor)},
			{kind: name, s: "Columns"},
			{kind: integer, n: int64(predictor)},
		}}
		r, err := w.filter(file.Reader(), names[int(kind)%len(names)], parms, &object{})
		if err != nil {
			return
		}
		out, problem, err := archive.Spool(context.Background(), r, budget)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		var spent *archive.ErrBudget
		if out.Size() > int64(len(in))*5000+64 && !errors.As(problem, &spent) {
			t.Fatalf("%d octets of %d", out.Size(), len(in))
		}
	})
}
