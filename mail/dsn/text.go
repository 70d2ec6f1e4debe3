package dsn

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The text lists the first recipients of an action, and counts the others: programs find all of them in the second part.
const mostListed = 50

// lineWidth is how long a line of the text is at most, in characters, where blanks allow it.
const lineWidth = 76

// explanation writes the part for people (RFC 6522 3, RFC 3464 2).
func (r *Report) explanation(back returned) part {
	var t textWriter
	t.paragraph("", "This is the mail gateway "+mtaName(r.ReportingMTA)+".")
	for _, a := range order {
		r.section(&t, a)
	}
	if r.has(Failed) {
		t.paragraph("", "The message will not be tried again for the addresses that failed. Please check them, or reach these people "+
			"by another way.")
	}
	if r.has(Delayed) {
		until := "It will be tried again."
		if !r.Until.IsZero() {
			until = "It will be tried again until " + date(r.Until) + "; if it fails until then, you will get another report."
		}
		t.paragraph("", "Of the delay this is a warning only: you need not send your message again. "+until)
	}
	if !r.has(Failed) && !r.has(Delayed) {
		t.paragraph("", "You get this notice because you, or your program, asked for it.")
	}
	r.message(&t, back)
	help := "If you need help, write to <" + clean(r.address(r.From), maxName) + ">"
	if r.QueueID != "" {
		help += " and name the id " + clean(r.QueueID, maxName)
	}
	t.line("", help+".")
	if isPlain(t.b.Bytes(), false) {
		return part{"Content-Type: text/plain; charset=us-ascii\r\n", t.b.Bytes()}
	}
	return part{
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n", quotedPrintable(t.b.Bytes()),
	}
}

// section tells of the recipients of one action.
func (r *Report) section(t *textWriter, a Action) {
	n := 0
	for _, to := range r.Recipients {
		if to.Action != a {
			continue
		}
		if n++; n > mostListed {
			continue
		}
		if n == 1 {
			t.paragraph("", actions[a].heading)
		}
		t.line("  ", "<"+clean(to.Address.String(), maxName)+">")
		server := mtaName(to.RemoteMTA)
		if server == "" {
			server = "the next server"
		}
		if !to.Diagnostic.IsZero() {
			t.line("      ", server+" said: "+clean(to.Diagnostic.String(), maxDiagnostic))
		}
		if why := clean(to.Why, maxDiagnostic); why != "" {
			t.line("      ", why)
		}
	}
	if n > mostListed {
		t.line("  ", fmt.Sprintf("and %d more, whom the second part of this report lists", n-mostListed))
	}
	if n > 0 {
		t.blank()
	}
}

// message says which message it is about, and what comes of it with the report.
func (r *Report) message(t *textWriter, back returned) {
	if back.fields == "" {
		t.paragraph("", "Your message itself can't be shown any more.")
		return
	}
	what := "The header of your message is attached."
	switch {
	case back.full:
		what = "Your message is attached."
	case back.cut:
		what = "Part of the header of your message is attached."
	}
	t.line("", "The message was:")
	for _, f := range []struct{ name, body string }{{"Subject", back.subject}, {"Date", back.date}, {"Message-ID", back.messageID}} {
		if f.body != "" {
			t.line("  ", f.name+": "+f.body)
		}
	}
	if !r.Arrival.IsZero() {
		t.line("  ", "taken here: "+date(r.Arrival))
	}
	t.blank()
	t.paragraph("", what)
}

// textWriter writes lines of text.
type textWriter struct{ b bytes.Buffer }

func (t *textWriter) blank() { t.b.WriteString("\r\n") }

func (t *textWriter) paragraph(indent, s string) {
	t.line(indent, s)
	t.blank()
}

// line writes a text, on more lines where it is long.
func (t *textWriter) line(indent, s string) {
	width := 0
	for _, w := range strings.Fields(s) {
		n := utf8.RuneCountInString(w)
		switch {
		case width == 0:
			t.b.WriteString(indent)
			width = len(indent)
		case width+1+n > lineWidth:
			t.b.WriteString("\r\n" + indent)
			width = len(indent)
		default:
			t.b.WriteByte(' ')
			width++
		}
		t.b.WriteString(w)
		width += n
	}
	t.b.WriteString("\r\n")
}
