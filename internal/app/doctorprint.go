package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/doctor"
)

// reportWidth is how long the lines of a report are.
const reportWidth = 120

// finding is one line of JSON.
type finding struct {
	doctor.Finding
	Software doctor.Software `json:"software,omitempty"` // of the server
}

// writeFindings writes one JSON object a line.
func writeFindings(w io.Writer, r *doctor.Result) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, f := range r.Findings {
		if err := enc.Encode(finding{f, r.Software[f.Where]}); err != nil {
			return err
		}
	}
	return nil
}

// printExamination writes a report for people: what was examined, in its order, and what was found there.
func printExamination(w io.Writer, e doctor.Examination, r *doctor.Result) error {
	var b bytes.Buffer
	told := map[string]bool{}
	for i := range e.Servers {
		where := e.Servers[i].Where()
		if told[where] {
			continue
		}
		told[where] = true
		heading := where
		if s := r.Software[where]; s != "" {
			heading += " (" + string(s) + ")"
		}
		group(&b, heading, where, r)
	}
	if len(e.Servers) == 0 {
		b.WriteString("no server to talk to: a maildir has none\n")
	}
	if e.Gateway != nil {
		before := b.Len()
		for _, f := range r.Findings {
			if !told[f.Where] {
				told[f.Where] = true
				group(&b, f.Where, f.Where, r)
			}
		}
		if b.Len() == before {
			fmt.Fprintf(&b, "%s, from outside\n  nothing found\n", e.Gateway.Hostname)
		}
	}
	var counts [3]int
	for _, f := range r.Findings {
		counts[f.Level]++
	}
	fmt.Fprintf(&b, "\n%s, %s, %s\n", many(counts[doctor.Fault], "fault"), many(counts[doctor.Warning], "warning"), many(counts[doctor.Note], "note"))
	_, err := w.Write(b.Bytes())
	return err
}

func many(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// group prints what was found at one place.
func group(b *bytes.Buffer, heading, where string, r *doctor.Result) {
	b.WriteString(heading + "\n")
	n := 0
	for _, f := range r.Findings {
		if f.Where != where {
			continue
		}
		n++
		wrapped(b, fmt.Sprintf("  %-8s", f.Level), f.Code+": "+f.Seen)
		wrapped(b, "          ", f.Why)
		for _, m := range remedies(f.Mend, r.Software[where]) {
			wrapped(b, "          > ", m)
		}
	}
	if n == 0 {
		b.WriteString("  nothing found\n")
	}
}

// remedies gives what to do, for the software that the server has: for each where it does not say.
func remedies(m doctor.Mend, s doctor.Software) (all []string) {
	if m.Here != "" {
		all = append(all, "Here: "+m.Here)
	}
	for _, of := range []struct {
		software   doctor.Software
		name, text string
	}{{"exchange", "Exchange", m.Exchange}, {"postfix", "Postfix", m.Postfix}, {"dovecot", "Dovecot", m.Dovecot}} {
		if of.text != "" && (s == "" || s == of.software || s == "exim" && len(all) == 0) {
			all = append(all, of.name+": "+of.text)
		}
	}
	return all
}

// wrapped writes a text behind a mark, in lines that are not too long.
func wrapped(b *bytes.Buffer, mark, text string) {
	line := mark
	room := strings.Repeat(" ", len(mark))
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > reportWidth && strings.TrimSpace(line) != "" && line != mark {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = room
		}
		if !strings.HasSuffix(line, " ") {
			line += " "
		}
		line += word
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
