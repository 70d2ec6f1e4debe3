// Package authres writes our Authentication-Results field (RFC 8601) and tells which fields of a message from outside
// pass for ours; it checks nothing itself, believes no field, and changes no message.
package authres

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Name is the field's name.
const Name = "Authentication-Results"

// The bounds of the field.
const (
	maxSignatures = 10  // DKIM signatures that are named
	maxSealers    = 10  // ARC sealers that are named
	maxReason     = 100 // octets of one reason
)

// entry is one result of the field, in words of the facts: what of them can't be written is left out later.
type entry struct {
	method     string
	result     auth.Result
	reason     string
	properties []property
}

// property is what a result is about (RFC 8601 2.3). Its value is one that may be written, "" where there is none.
type property struct{ name, value string }

// Body writes the body of our Authentication-Results field (RFC 8601 2.2), folded, under the authserv-id id; "" where no
// fact that it is made of is provided. Each result stands on a line of its own, and only where provides has its fact: a
// policy that has switched a check off does not vouch for what another plan found before the policy was chosen.
// An ARC-Authentication-Results field has the same body behind its instance (RFC 8617 4.1.1).
func Body(in *filter.Input, id string, provides func(fact string) bool) string {
	all, able := entries(in, provides)
	if !able {
		return ""
	}
	f := mail.NewFolder(Name)
	f.Spare = len(";")
	f.Word(quotedValue(id))
	for _, e := range all {
		e.write(f)
	}
	if len(all) == 0 {
		// RFC 8601 2.2: "none" says that nothing was checked.
		f.More(";")
		f.Word("none")
	}
	return f.String()
}

// entries gives the results in the order in which they are written, and whether there could have been any.
func entries(in *filter.Input, provides func(fact string) bool) (all []entry, able bool) {
	internationalized := in.Transaction != nil && in.Transaction.SMTPUTF8
	has := func(key string) bool {
		given := provides(key)
		able = able || given
		return given
	}
	if has(string(auth.SPF)) {
		if r, ok := auth.SPF.From(in); ok {
			all = append(all, spfEntry(r, internationalized))
		}
	}
	if has(string(auth.HeloSPF)) {
		if r, ok := auth.HeloSPF.From(in); ok {
			r.Identity = "helo"
			all = append(all, spfEntry(r, internationalized))
		}
	}
	if has(string(auth.DKIM)) {
		if r, ok := auth.DKIM.From(in); ok {
			all = append(all, dkimEntries(r, internationalized)...)
		}
	}
	if has(string(auth.ARC)) {
		// RFC 8617 4.4: there is no word for a chain whose keys could not be fetched, and RFC 8601 2.7.7 lets readers
		// drop a field with a word that they don't know: nothing is said then.
		if r, ok := auth.ARC.From(in); ok && r.Result != auth.TempError {
			all = append(all, arcEntry(r, in.Session))
		}
	}
	if has(string(auth.DMARC)) {
		if r, ok := auth.DMARC.From(in); ok {
			all = append(all, dmarcEntry(r))
		}
	}
	if has(string(auth.IPRev)) {
		if r, ok := auth.IPRev.From(in); ok {
			all = append(all, iprevEntry(r))
		}
	}
	return all, able
}

// spfEntry: RFC 8601 2.7.2: the property says which of the two identities was checked, and its value has a local part
// only where a record has looked at that.
func spfEntry(r auth.SPFResult, internationalized bool) entry {
	sender := r.Sender
	if !r.LocalPart {
		sender = sender[strings.LastIndexByte(sender, '@')+1:]
	}
	p := property{"smtp.mailfrom", mailboxValue(sender, internationalized)}
	if r.Identity == "helo" {
		p = property{"smtp.helo", hostValue(r.Sender)}
	}
	return entry{"spf", r.Result, r.Reason, []property{p}}
}

func dkimEntries(all []auth.DKIMResult, internationalized bool) []entry {
	if len(all) == 0 {
		return []entry{{method: "dkim", result: auth.None}}
	}
	var out []entry
	for _, r := range named(all) {
		identity := r.Identity
		if identity == "@"+r.Domain {
			identity = "" // RFC 6376 3.5: what it is where a signature has none
		}
		reason := r.Reason
		if reason == "" && r.KeyBits > 0 {
			reason = fmt.Sprintf("%d-bit key", r.KeyBits)
		}
		if r.Testing {
			reason = strings.TrimPrefix(reason+", domain tests DKIM", ", ")
		}
		out = append(out, entry{"dkim", r.Result, reason, []property{
			{"header.d", nameValue(r.Domain)},
			{"header.i", mailboxValue(identity, internationalized)},
			{"header.s", nameValue(r.Selector)},
			{"header.a", wordValue(r.Algorithm)},
			{"header.b", base64Value(r.Prefix)}, // RFC 6008: tells signatures of one domain apart
		}})
	}
	return out
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

// arcEntry: RFC 8617 6 says what the two properties are.
func arcEntry(r auth.ARCResult, s *filter.Session) entry {
	e := entry{method: "arc", result: r.Result, reason: r.Reason}
	if r.Result != auth.Pass && r.Result != auth.Fail {
		return e
	}
	if r.Result == auth.Pass {
		if e.reason == "" && len(r.Sealers) > 0 {
			e.reason = "sealed by " + strings.Join(r.Sealers[:min(len(r.Sealers), maxSealers)], ", ")
		}
		// RFC 8617 5.2: the instance of the oldest message signature that verifies, 0 where all do.
		e.properties = append(e.properties, property{"header.oldest-pass", strconv.Itoa(max(r.OldestAMS, 0))})
	}
	if s != nil {
		e.properties = append(e.properties, property{"smtp.remote-ip", addrValue(s.Client.Addr())})
	}
	return e
}

// dmarcEntry: the registry's two properties for dmarc are header.from and policy.dmarc, of which the latter
// is what is to be done with the message when every option of the record and our own policy has had its say.
func dmarcEntry(r auth.DMARCResult) entry {
	e := entry{"dmarc", r.Result, r.Reason, []property{{"header.from", nameValue(r.From)}}}
	if r.Policy == "" {
		return e
	}
	switch r.Disposition {
	case "none", "quarantine", "reject":
		e.properties = append(e.properties, property{"policy.dmarc", r.Disposition})
	}
	return e
}

// iprevEntry: RFC 8601 2.7.3 and the registry have policy.iprev for the address; the name is for people.
func iprevEntry(r auth.IPRevResult) entry {
	reason := r.Reason
	if reason == "" {
		reason = r.Name
	}
	addr, _ := netip.ParseAddr(r.Client)
	return entry{"iprev", r.Result, reason, []property{{"policy.iprev", addrValue(addr)}}}
}

// write writes the result on a new line: method, result word, reason, properties.
func (e entry) write(f *mail.Folder) {
	f.More(";")
	f.Line(e.method + "=" + e.resultWord())
	if words := reasonWords(e.reason); len(words) > 0 {
		words[0] = `reason="` + words[0]
		words[len(words)-1] += `"`
		f.Word(words[0])
		for _, w := range words[1:] {
			f.Within(w)
		}
	}
	for _, p := range e.properties {
		if p.value != "" {
			f.Word(p.name + "=" + quotedValue(p.value))
		}
	}
}

// resultWords has the words that RFC 8601 2.7, RFC 8617 10.1 and RFC 9989 register for each method.
var resultWords = map[string][]auth.Result{
	"spf":   {auth.None, auth.Pass, auth.Fail, auth.SoftFail, auth.Policy, auth.Neutral, auth.TempError, auth.PermError},
	"dkim":  {auth.None, auth.Pass, auth.Fail, auth.Policy, auth.Neutral, auth.TempError, auth.PermError},
	"arc":   {auth.None, auth.Pass, auth.Fail},
	"dmarc": {auth.None, auth.Pass, auth.Fail, auth.TempError, auth.PermError},
	"iprev": {auth.Pass, auth.Fail, auth.TempError, auth.PermError},
}

// resultWord gives the method's result; of a word that it does not have nothing can be believed.
func (e entry) resultWord() string {
	words := resultWords[e.method]
	switch {
	case slices.Contains(words, e.result):
		return string(e.result)
	case slices.Contains(words, auth.PermError):
		return string(auth.PermError)
	}
	return string(auth.Fail)
}
