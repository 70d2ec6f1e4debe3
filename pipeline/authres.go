package pipeline

import (
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// The bounds of an Authentication-Results field.
const (
	authField     = "Authentication-Results"
	maxSignatures = 10  // DKIM signatures that are named
	maxValue      = 400 // octets of one value: an address has 320 at most
	maxReason     = 100 // octets of one comment
)

// authResults writes the body of our Authentication-Results field (RFC 8601 2.2), and "" where the plan
// has no stage that authenticates. Each method stands on a line of its own, and only where the plan has
// a stage for it: a policy that has switched a check off does not vouch for what another plan found
// before the policy was chosen.
func authResults(in *filter.Input, o StampOptions) string {
	hasSPF, hasDKIM := o.Plan.Provides(string(auth.SPF)), o.Plan.Provides(string(auth.DKIM))
	if !hasSPF && !hasDKIM {
		return ""
	}
	f := newFolder(authField)
	f.word(propertyValue(o.AuthservID))
	checked := false
	if spf, ok := auth.SPF.From(in); hasSPF && ok {
		checked = true
		writeSPF(f, spf)
	}
	if dkim, ok := auth.DKIM.From(in); hasDKIM && ok {
		checked = true
		if len(dkim) == 0 {
			method(f, "dkim", auth.None, "")
		}
		for _, sig := range named(dkim) {
			writeDKIM(f, sig)
		}
	}
	if !checked {
		// RFC 8601 2.2: "none" says that nothing was checked.
		f.more(";")
		f.word("none")
	}
	return f.String()
}

// method begins a result on a new line: its name, its result word, and the reason as a comment.
func method(f *folder, name string, result auth.Result, reason string) {
	f.more(";")
	f.line(name + "=" + resultWord(result))
	if text := commentText(reason); text != "" {
		for _, w := range strings.Fields("(" + text + ")") {
			f.word(w)
		}
	}
}

func writeSPF(f *folder, r auth.SPFResult) {
	method(f, "spf", r.Result, r.Reason)
	property := "smtp.mailfrom="
	// RFC 8601 2.7.2: the property says which of the two identities was checked.
	if r.Identity == "helo" {
		property = "smtp.helo="
	}
	if r.Sender != "" {
		f.word(property + propertyValue(r.Sender))
	}
}

func writeDKIM(f *folder, r auth.DKIMResult) {
	method(f, "dkim", r.Result, r.Reason)
	for _, p := range []struct{ name, value string }{
		{"header.d=", r.Domain},
		{"header.s=", r.Selector},
		{"header.a=", r.Algorithm},
		{"header.b=", r.Prefix}, // RFC 6008: tells signatures of one domain apart
	} {
		if p.value != "" {
			f.word(p.name + propertyValue(p.value))
		}
	}
}

// named gives the signatures that are written, in their order: not more than maxSignatures, and those
// that pass before others, so that nobody hides a good signature behind a crowd of bad ones.
func named(all []auth.DKIMResult) []auth.DKIMResult {
	if len(all) <= maxSignatures {
		return all
	}
	var chosen []int
	for _, wantPass := range []bool{true, false} {
		for i, r := range all {
			if len(chosen) < maxSignatures && (r.Result == auth.Pass) == wantPass {
				chosen = append(chosen, i)
			}
		}
	}
	slices.Sort(chosen)
	out := make([]auth.DKIMResult, len(chosen))
	for i, at := range chosen {
		out[i] = all[at]
	}
	return out
}

// resultWord gives a result of RFC 8601 2.7; of any other word nothing can be believed.
func resultWord(r auth.Result) string {
	switch r {
	case auth.None, auth.Pass, auth.Fail, auth.SoftFail, auth.Neutral, auth.Policy, auth.TempError, auth.PermError:
		return string(r)
	}
	return string(auth.PermError)
}

// commentText gives what of a reason may stand in a comment: printable ASCII without what would end or
// nest it (RFC 5322 3.2.2).
func commentText(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= maxReason {
			break
		}
		switch {
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			b.WriteByte(' ')
		case r < ' ' || r > '~' || r == '\\':
			b.WriteByte('?')
		case r == '(':
			b.WriteByte('[')
		case r == ')':
			b.WriteByte(']')
		default:
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// propertyValue writes a value of RFC 8601 2.2: a token, or a mailbox of plain words, as it is; anything
// else as a quoted string. What is not printable ASCII becomes '?', so that no value can end its field
// or begin another.
func propertyValue(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue]
	}
	local, domain, isMailbox := strings.Cut(s, "@")
	if isToken(s) || isMailbox && isToken(domain) && (local == "" || isToken(local)) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r < ' ' || r > '~':
			b.WriteByte('?')
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// isToken reports whether s is a token of RFC 2045 5.1, which also is what a dot-atom may hold and a
// reader of Authentication-Results takes without quotes.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?=`, r)
	})
}
