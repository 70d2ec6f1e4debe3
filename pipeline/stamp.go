package pipeline

import (
	"math"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/filter/authres"
	"github.com/postern-mail/postern/mail"
)

// StampOptions say which fields a verdict puts on a message.
type StampOptions struct {
	AuthservID string   // our name in Authentication-Results (RFC 8601 2.5); "" writes and removes none
	Keep       []string // other names whose Authentication-Results a message may bring along; nil: every other
	Plan       *Plan    // the plan of all phases that the message went through; nil or empty: nothing is stamped
	Policy     *Policy  // the policy that decided; nil: one without thresholds that enforces
	Exchange   bool     // the next server is Exchange: an SCL for what is marked, and no field of its organization from outside
	Score      bool     // put the X-Spam fields on the message, in place of those that it came with
}

// Stamp gives all changes to the message that a verdict asks for. Of fields that are added ours come first, and so stand
// above those of filters. What came with the message goes where only we or the servers behind us may write it; an X-Spam
// field that a filter has rewritten is the filter's word, and stays below ours. Of an observing policy only the
// Authentication-Results and Received-SPF fields are touched; an empty plan changes nothing.
func Stamp(v Verdict, in *filter.Input, o StampOptions) []mail.Edit {
	relay := in.Session != nil && in.Session.Relay
	if o.Plan.Empty() {
		if o.Exchange && !relay && in.Content != nil {
			return append(organization(in.Content.Header()), v.Edits...)
		}
		return slices.Clip(v.Edits)
	}
	observe := o.Policy != nil && o.Policy.Observe
	var edits []mail.Edit
	if o.AuthservID != "" {
		if body := authres.Body(in, o.AuthservID, o.Plan.Provides); body != "" {
			edits = append(edits, mail.AddField{Name: authres.Name, Body: body})
		}
	}
	edits = append(edits, receivedSPF(in, o.Plan)...)
	others := v.Edits
	if o.Score && !observe {
		edits = append(edits, scoreFields(v, o.Policy)...)
		if o.Exchange {
			edits = append(edits, confidence(v, o.Policy, relay)...)
		}
		if in.Content != nil && o.Policy != nil && o.Policy.Subject != "" && v.Action == filter.Tag {
			var own []mail.Edit
			own, others = subject(in.Content.Header(), v.Edits, o.Policy.Subject)
			edits = append(edits, own...)
		}
	}
	if in.Content == nil {
		return append(edits, others...)
	}
	for _, e := range untrusted(in.Content.Header(), o.AuthservID, o.Keep, o.Score && !observe, !observe, relay) {
		if !rewritten(in.Content.Header(), e, v.Edits) {
			edits = append(edits, e)
		}
	}
	if o.Exchange && observe && !relay {
		edits = append(edits, organization(in.Content.Header())...)
	}
	return append(edits, others...)
}

// rewritten reports whether a removal is that of an X-Spam field of which a filter has made one of its own.
func rewritten(h *mail.Header, removal mail.Edit, others []mail.Edit) bool {
	gone, ok := removal.(mail.RemoveField)
	return ok && slices.Contains(spamFields, mail.LowerASCII(h.Fields()[gone.Index].Name)) && slices.ContainsFunc(others, func(e mail.Edit) bool {
		r, ok := e.(mail.ReplaceField)
		return ok && r.Index == gone.Index
	})
}

// subject puts a word before the subject, also where filters have changed it, or makes it the subject of a message that has
// none. It gives the edits for that, and those of the filters, in which a subject that they add has the word.
func subject(h *mail.Header, others []mail.Edit, word string) (own, rest []mail.Edit) {
	const name = "Subject"
	rest = slices.Clone(others)
	gone, replaced := map[int]bool{}, map[int]string{}
	none := true
	for i, e := range slices.Backward(rest) { // of several replacements the first stands
		switch e := e.(type) {
		case mail.RemoveField:
			gone[e.Index] = true
		case mail.ReplaceField:
			replaced[e.Index] = e.Body
		case mail.AddField:
			if !(mail.Field{Name: e.Name}).Is(name) {
				continue
			}
			none = false
			if body := (mail.Field{Name: name, Raw: name + ": " + e.Body + "\r\n"}).Prefixed(word); body != "" {
				rest[i] = mail.AddField{Name: e.Name, Body: body}
			}
		}
	}
	for i, f := range h.Fields() {
		if !f.Is(name) || gone[i] {
			continue
		}
		none = false
		if body, ok := replaced[i]; ok {
			f.Raw = f.Name + ": " + body + "\r\n"
		}
		if body := f.Prefixed(word); body != "" {
			own = append(own, mail.ReplaceField{Index: i, Body: body})
		}
	}
	if none && !h.Truncated() {
		own = append(own, mail.AddField{Name: name, Body: mime.QEncoding.Encode("utf-8", word)})
	}
	return own, rest
}

// receivedSPF gives the Received-SPF fields that the configuration asked for. RFC 7208 9.1: they stand above all others
// of the name and above our Received field. Those that a message brings along stay: nothing in them tells whose they
// are, and what reads them goes by the topmost.
func receivedSPF(in *filter.Input, p *Plan) []mail.Edit {
	var edits []mail.Edit
	for _, key := range []filter.Key[auth.SPFResult]{auth.SPF, auth.HeloSPF} {
		if r, ok := key.From(in); ok && r.Received != "" && p.Provides(string(key)) {
			edits = append(edits, mail.AddField{Name: "Received-SPF", Body: r.Received})
		}
	}
	return edits
}

// Untrusted gives the edits that take off a message from outside every field that only we, or the servers
// inside, may have written: it is for a message that is handed on as it came, past any verdict. The names are those
// of StampOptions.
func Untrusted(h *mail.Header, authservID string, keep []string) []mail.Edit {
	return untrusted(h, authservID, keep, true, true, false)
}

// Unstamp gives the edits that take off a message what Stamp has put on it, as far as it stays with a message that comes back: our fields,
// and of the words that policies put before a subject the first that it begins with.
func Unstamp(h *mail.Header, authservID string, words []string) []mail.Edit {
	edits := untrusted(h, authservID, nil, true, true, false)
	for i, f := range h.Fields() {
		if !f.Is("Subject") {
			continue
		}
		for _, word := range words {
			if body, ok := f.Unprefixed(word); ok {
				edits = append(edits, mail.ReplaceField{Index: i, Body: body})
				break
			}
		}
	}
	return edits
}

// untrusted gives the removals.
func untrusted(h *mail.Header, authservID string, keep []string, score, others, relay bool) []mail.Edit {
	var edits []mail.Edit
	results := authres.Untrusted(authservID, keep)
	for i, f := range h.Fields() {
		name, remove := "", false
		if f.MayBegin('x') { // as all of these names do
			name, _ = f.Lenient()
		}
		switch {
		case slices.Contains(spamFields, name):
			remove = score
		case strings.HasPrefix(name, "x-postern-"):
			remove = others
		case ofOrganization(name):
			remove = others && !relay
		}
		if remove || results(f) {
			edits = append(edits, mail.RemoveField{Index: i})
		}
	}
	return edits
}

// spamFields are the fields that mail clients and stores sort by.
var spamFields = []string{"x-spam-flag", "x-spam-status", "x-spam-score", "x-spam-level"}

const (
	maxStars = 50  // of X-Spam-Level
	maxTests = 100 // symbols of X-Spam-Status, behind which "..." stands for more
)

// scoreFields writes the fields that SpamAssassin made known, so that whatever sorts by them goes on
// working.
func scoreFields(v Verdict, p *Policy) []mail.Edit {
	spam := v.Action >= filter.Tag
	var edits []mail.Edit
	add := func(name, body string) { edits = append(edits, mail.AddField{Name: name, Body: body}) }
	if spam {
		add("X-Spam-Flag", "YES")
	}
	add("X-Spam-Status", spamStatus(v, p, spam))
	add("X-Spam-Score", Tenths(v.Score))
	if n := int(min(max(v.Score, 0), maxStars)); n > 0 {
		add("X-Spam-Level", strings.Repeat("*", n))
	}
	return edits
}

func spamStatus(v Verdict, p *Policy, spam bool) string {
	f := mail.NewFolder("X-Spam-Status")
	if spam {
		f.Word("Yes,")
	} else {
		f.Word("No,")
	}
	f.Word("score=" + Tenths(v.Score))
	if t := lowest(p); t != nil {
		f.Word("required=" + strconv.FormatFloat(*t, 'f', 1, 64))
	}
	var tests []string
	for _, s := range v.Findings {
		if !s.Observed && !s.Waived && s.Symbol != "" && s.Strength != 0 && !slices.Contains(tests, s.Symbol) {
			if len(tests) == maxTests {
				tests = append(tests, "...")
				break
			}
			tests = append(tests, s.Symbol)
		}
	}
	if len(tests) == 0 {
		tests = []string{"none"}
	}
	for i, t := range tests {
		if i < len(tests)-1 {
			t += ","
		}
		if i == 0 {
			f.Word("tests=" + t)
		} else {
			f.More(t)
		}
	}
	return f.String()
}

// Tenths writes a score with one decimal, as every field and table shows it: cut towards zero, so that 4.96 does not look as if it had
// reached a threshold of 5, and -0.001 is 0.0.
func Tenths(x float64) string {
	return strconv.FormatFloat(math.Trunc(round(x*10))/10+0, 'f', 1, 64)
}

// lowest gives the threshold at which a message is marked or worse.
func lowest(p *Policy) *float64 {
	if p == nil {
		return nil
	}
	var low *float64
	for _, t := range []*float64{p.Tag, p.Quarantine, p.Reject} {
		if t != nil && (low == nil || *t < *low) {
			low = t
		}
	}
	return low
}
