package rules

import (
	"bytes"
	"embed"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// Some messages such as come in every day: patterns are looked for by what is rare in them, and the tables that grow with use are
// warmed with them. They make nothing hit or miss.
//
//go:embed sample/*.eml
var sampleFiles embed.FS

// sample is the messages as rules see them.
type sample []*run

func newSample(s *Set) (all sample) {
	names, err := sampleFiles.ReadDir("sample")
	if err != nil {
		panic(err) // it is part of the program
	}
	for _, name := range names {
		raw, err := sampleFiles.ReadFile("sample/" + name.Name())
		if err != nil {
			panic(err)
		}
		c := mail.NewContent(mail.NewBlob(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))), mail.LineFaults{}, mail.Limits{})
		all = append(all, &run{s: s, m: &eval.Mail{Text: text.Of(c, text.Options{})}})
	}
	return all
}

func (a sample) release() {
	for _, st := range a {
		st.m.Text.Content().Release()
	}
}

// class gives the segments that rules of a class see.
func (a sample) class(c Class) (segs [][]byte) {
	for _, st := range a {
		segs = append(segs, st.segments(c)...)
	}
	return segs
}

func (a sample) header(sel text.Selector) (segs [][]byte) {
	for _, st := range a {
		if value, ok := st.m.Text.Header(sel); ok {
			segs = append(segs, value)
		}
	}
	return segs
}

func (a sample) mime(f mimeField) (segs [][]byte) {
	for _, st := range a {
		st.m.Text.Content().Root().Walk(func(p *mail.Part) bool {
			segs = append(segs, f.of(p, p == st.m.Text.Content().Root()))
			return true
		})
	}
	return segs
}
