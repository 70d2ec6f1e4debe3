package eval

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/rules/text"
)

var headerFunctions = []Function{
	plain("check_for_fake_aol_relay_in_rcvd", fakeAOLRelay),
	plain("check_for_faraway_charset_in_headers", never2),
	plain("check_for_unique_subject_id", never2),
	{"check_illegal_chars", compileIllegal},
	plain("check_for_forged_hotmail_received_headers", func(m *Mail) (int, string) { return yes(m.hotmailForged() == forgedHelo, "") }),
	plain("check_for_no_hotmail_received_headers", func(m *Mail) (int, string) { return yes(m.hotmailForged() == forgedFrom, "") }),
	plain("check_for_msn_groups_headers", func(m *Mail) (int, string) { return yes(m.msnGroups(), "") }),
	plain("check_for_forged_eudoramail_received_headers", forgedEudora),
	plain("check_for_forged_yahoo_received_headers", forgedYahoo),
	plain("check_for_forged_juno_received_headers", forgedJuno),
	plain("check_for_forged_gmail_received_headers", forgedGmail),
	plain("check_for_matching_env_and_hdr_from", func(m *Mail) (int, string) {
		return yes(bytes.Equal(lower(m.get(selEnvelopeAddr)), lower(m.get(selFromAddr))), "")
	}),
	plain("sorted_recipients", func(m *Mail) (int, string) { return yes(m.recipients().sorted, "") }),
	{"similar_recipients", compileSimilar},
	plain("check_for_missing_to_header", func(m *Mail) (int, string) {
		return yes(len(m.get(selTo)) == 0 && len(m.get(selApparentlyTo)) == 0, "")
	}),
	plain("check_for_forged_gw05_received_headers", forgedGw05),
	{"check_for_shifted_date", compileShifted},
	plain("subject_is_all_caps", allCaps),
	{"check_for_to_in_subject", compileToInSubject},
	plain("check_outlook_message_id", outlookID),
	plain("check_messageid_not_usable", unusableID),
	{"check_header_count_range", compileCountRange},
	plain("check_unresolved_template", unresolved),
	plain("check_ratware_name_id", ratwareName),
	{"check_ratware_envelope_from", compileRatwareEnvelope},
	plain("gated_through_received_hdr_remover", func(m *Mail) (int, string) { return yes(m.gated(), "") }),
	plain("check_equal_from_domains", unequalDomains),
}

// headFacts is what the functions on header fields remember of a message.
type headFacts struct {
	received   once[[]byte]
	removed    once[bool]
	hotmail    once[forgery]
	crowd      once[crowd]
	dates      once[int64]
	from, to   once[[][]byte]
	bodyMails  once[bodyMails]
	spoof      once[spoof]
	authors    once[map[string]bool]
	forgedPath once[mismatches]
}

var (
	selReceived     = text.MustSelector("Received")
	selSubject      = text.MustSelector("Subject")
	selSubjectRaw   = text.MustSelector("Subject:raw")
	selFrom         = text.MustSelector("From")
	selFromAddr     = text.MustSelector("From:addr")
	selFromName     = text.MustSelector("From:name")
	selTo           = text.MustSelector("To")
	selToAddr       = text.MustSelector("To:addr")
	selApparentlyTo = text.MustSelector("Apparently-To")
	selEnvelope     = text.MustSelector("EnvelopeFrom")
	selEnvelopeAddr = text.MustSelector("EnvelopeFrom:addr")
	selMessageIDs   = text.MustSelector("MESSAGEID")
	selMessageID    = text.MustSelector("Message-Id")
	selDate         = text.MustSelector("Date")
	selResentDate   = text.MustSelector("Resent-Date")
	selAll          = text.MustSelector("ALL")
	selToCcAddr     = text.MustSelector("ToCc:addr")
	selBccAddr      = text.MustSelector("Bcc:addr")
	selReplyToAddr  = text.MustSelector("Reply-To:addr")
	selMailingList  = text.MustSelector("Mailing-List")
	selDeliveredTo  = text.MustSelector("Delivered-To")
	selUnsubscribe  = text.MustSelector("List-Unsubscribe")
)

// get gives what a selector gives, empty for nothing: of whole fields all values, of parts of fields the first.
func (m *Mail) get(s text.Selector) []byte { return m.Text.Value(s) }

// has reports whether a selector gives anything, be it empty.
func (m *Mail) has(s text.Selector) bool {
	_, ok := m.Text.Header(s)
	return ok
}

func never2(*Mail) (int, string) { return 0, "" }

// lower puts letters of ASCII in lower case, and leaves b alone.
func lower(b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			out := bytes.Clone(b)
			for i, c := range out {
				if 'A' <= c && c <= 'Z' {
					out[i] = c + 'a' - 'A'
				}
			}
			return out
		}
	}
	return b
}

// received gives the Received fields with one blank for each run of white space.
func (m *Mail) received() []byte {
	return m.heads.received.get(func() []byte { return squeezed(m.get(selReceived)) })
}

func squeezed(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c == ' ' || '\t' <= c && c <= '\r' {
			if len(out) > 0 && out[len(out)-1] == ' ' {
				continue
			}
			c = ' '
		}
		out = append(out, c)
	}
	return out
}

var (
	aolRelay = regexp.MustCompile(`(?i) rly-[a-z][a-z]\d\d\.`)
	aolTrue  = regexp.MustCompile(`/AOL-\d+\.\d+\.\d+\)|ESMTP id (?:RELAY|MAILRELAY|MAILIN)`)
)

// fakeAOLRelay finds a relay of AOL's by name that does not write as they do.
func fakeAOLRelay(m *Mail) (int, string) {
	r := m.received()
	if !bytes.Contains(r, []byte("rly-")) && !bytes.Contains(r, []byte("RLY-")) {
		if !aolRelay.Match(r) {
			return 0, ""
		}
	}
	return yes(aolRelay.Match(r) && !aolTrue.Match(r), "")
}

// compileIllegal makes the check of how many octets of a field are not to stand there.
func compileIllegal(_ *Settings, args []string) (Check, error) {
	if len(args) != 3 {
		return nil, fmt.Errorf("eval: check_illegal_chars needs a field, a ratio and a number, not %q", args)
	}
	name := args[0]
	if !strings.HasSuffix(name, ":raw") {
		name += ":raw"
	}
	sel, err := text.ParseSelector(name)
	if err != nil {
		return nil, err
	}
	ratio, err := number("check_illegal_chars", args, 1, 0)
	if err != nil {
		return nil, err
	}
	least, err := number("check_illegal_chars", args, 2, 0)
	if err != nil {
		return nil, err
	}
	subject := strings.EqualFold(name, "subject:raw")
	return func(m *Mail) (int, string) {
		s := m.get(sel)
		n := illegal(s, subject)
		return yes(len(s) > 0 && float64(n)/float64(len(s)) >= ratio && float64(n) >= least && len(bytes.TrimSpace(s)) > 0, "")
	}, nil
}

// illegal counts octets that are no printable ASCII and no white space. In UTF-8 without control characters there are none.
func illegal(s []byte, subject bool) int {
	controls, high, exempt := 0, 0, 0
	for _, c := range s {
		switch {
		case c >= 0x80:
			high++
			if c == 0xa2 || c == 0xa3 || c == 0xae {
				exempt++
			}
		case c == 0x7f:
			high++
		case c < ' ' && c != '\t' && c != '\n' && c != '\r':
			controls++
		}
	}
	n := controls + high
	if n == 0 {
		return 0
	}
	// The formfeed is counted as a control here, though it is white space.
	if controls == 0 && hasHigh(s) && utf8.Valid(s) {
		return 0
	}
	if subject && exempt == 1 {
		n-- // a single cent, pound or registered sign
	}
	return n
}

func hasHigh(s []byte) bool {
	return slices.ContainsFunc(s, func(c byte) bool { return c >= 0x80 })
}

var (
	ezmlm       = regexp.MustCompile(`(?m)^contact \S+@\S+; run by ezmlm$`)
	ezmlmList   = regexp.MustCompile(`(?m)^mailing list \S+@\S+`)
	ezmlmQmail  = regexp.MustCompile(`qmail \d+ invoked (?:from network|by .{3,20})\); \d+ ... \d+`)
	groupsRelay = regexp.MustCompile(`from groups\.msn\.com \(\S+\.msn\.com `)
)

// gated reports whether the message came by way of something that removes Received fields.
func (m *Mail) gated() bool {
	return m.heads.removed.get(func() bool {
		r := m.get(selReceived)
		if l := m.get(selMailingList); len(l) > 0 && ezmlm.Match(l) && ezmlmList.Match(m.get(selDeliveredTo)) && ezmlmQmail.Match(r) {
			return true
		}
		return !m.has(selReceived) || bytes.Contains(r, []byte("from groups.msn.com")) && groupsRelay.Match(r)
	})
}

// crowd is what the recipients have in common.
type crowd struct {
	sorted  bool
	similar float64
}

const (
	crowdSorted  = 7 // recipients of which the order says something
	crowdSimilar = 5 // recipients of which the likeness says something
	crowdPrefix  = 2 // octets that are compared
	crowdMost    = 256
)

func (m *Mail) recipients() crowd { return m.heads.crowd.get(m.compareRecipients) }

func (m *Mail) compareRecipients() (c crowd) {
	all := m.Text.Values(selToCcAddr)
	if len(all) < crowdSimilar {
		all = slices.Concat(all, m.Text.Values(selBccAddr))
	}
	var list, users, hosts, prefixes []string
	last := ""
	for _, a := range all {
		if strings.EqualFold(string(a), last) {
			continue
		}
		last = string(a)
		list = append(list, last)
		_, host, _ := strings.Cut(last, "@")
		users, hosts = append(users, last[:min(crowdPrefix, len(last))]), append(hosts, host)
		prefixes = append(prefixes, host[:min(crowdPrefix, len(host))])
		if len(list) == crowdMost {
			break
		}
	}
	c.sorted = len(list) >= crowdSorted && slices.IsSorted(list)
	if len(list) < crowdSimilar {
		return c
	}
	hits, pairs := 0, 0
	for i := range list {
		for j := i + 1; j < len(list); j++ {
			if users[i] == users[j] {
				hits++
			}
			if prefixes[i] == prefixes[j] && hosts[i] != hosts[j] {
				hits++
			}
			pairs++
		}
	}
	c.similar = float64(hits) / float64(pairs)
	return c
}

// twoBounds reads two arguments between which a number is to be; "undef" for none.
func twoBounds(name string, args []string, unit float64) (func(float64) bool, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("eval: %s needs two bounds, not %q", name, args)
	}
	var low, high *float64
	for i, to := range []**float64{&low, &high} {
		if args[i] == "undef" {
			continue
		}
		f, err := number(name, args, i, 0)
		if err != nil {
			return nil, err
		}
		f *= unit
		*to = &f
	}
	return func(v float64) bool { return (low == nil || v >= *low) && (high == nil || v < *high) }, nil
}

func compileSimilar(_ *Settings, args []string) (Check, error) {
	inside, err := twoBounds("similar_recipients", args, 1)
	return func(m *Mail) (int, string) { return yes(inside(m.recipients().similar), "") }, err
}

var cwt = regexp.MustCompile(`(?i)<mailto:(?:leave-\S+|\S+-unsubscribe)@\S+>$`)

// unusableID reports whether something on the way has made the message an id of its own.
func unusableID(m *Mail) (int, string) {
	r := m.get(selReceived)
	return yes(cwt.Match(bytes.TrimSuffix(m.get(selUnsubscribe), []byte("\n"))) || m.gated() ||
		bytes.Contains(r, []byte("/CWT/DCE)")) || bytes.Contains(r, []byte("iPlanet Messaging Server")), "")
}

func compileCountRange(_ *Settings, args []string) (Check, error) {
	if len(args) != 3 {
		return nil, fmt.Errorf("eval: check_header_count_range needs a field and two bounds, not %q", args)
	}
	sel, err := text.ParseSelector(args[0])
	if err != nil {
		return nil, err
	}
	low, err1 := number("check_header_count_range", args, 1, 0)
	high, err2 := number("check_header_count_range", args, 2, 0)
	return func(m *Mail) (int, string) {
		all := slices.Clone(m.Text.Values(sel))
		slices.SortFunc(all, bytes.Compare)
		n := float64(len(slices.CompactFunc(all, bytes.Equal)))
		return yes(n >= low && n <= high, "")
	}, cmp.Or(err1, err2)
}

var (
	template     = regexp.MustCompile(`%[A-Z][A-Z_-]`)
	templateFree = regexp.MustCompile(`(?i)^(?:X-VMS-To|X-UIDL|X-Face|To|Cc|From|Subject|References|In-Reply-To|(?:X-|Resent-|X-Original-)?Message-Id):`)
)

// unresolved finds what a program was to put something in place of, in fields that people don't write.
func unresolved(m *Mail) (int, string) {
	all := m.get(selAll)
	for from := 0; ; {
		i := template.FindIndex(all[from:])
		if i == nil {
			return 0, ""
		}
		at := from + i[0]
		start := bytes.LastIndexByte(all[:at], '\n') + 1
		end := bytes.IndexByte(all[at:], '\n')
		if end < 0 {
			end = len(all) - at
		}
		line := all[start : at+end]
		if !templateFree.Match(line) {
			return 1, cut(line)
		}
		from = at + end
	}
}

// cut shortens octets of a message for people.
func cut(b []byte) string { return strings.ToValidUTF8(string(b[:min(len(b), 100)]), "\uFFFD") }

var ratwareID = regexp.MustCompile(`<[A-Z]{28}\.([^>]+?)>`)

// ratwareName finds an id that is made of the sender's address.
func ratwareName(m *Mail) (int, string) {
	id := ratwareID.FindSubmatch(m.get(selMessageIDs))
	if id == nil {
		return 0, ""
	}
	from := m.get(selFrom)
	for at := 0; ; {
		i := bytes.Index(from[at:], append(append([]byte("<"), id[1]...), '>'))
		if i < 0 {
			return 0, ""
		}
		at += i
		before := bytes.TrimRight(from[:at], " \t\n\v\f\r")
		if n := len(before); n > 0 && before[n-1] == '"' {
			if q := bytes.LastIndexByte(before[:n-1], '"'); q >= 0 && q < n-2 {
				return 1, ""
			}
		}
		at++
	}
}

func compileRatwareEnvelope(_ *Settings, args []string) (Check, error) {
	return func(m *Mail) (int, string) {
		to, from := string(m.get(selToAddr)), string(m.get(selEnvelopeAddr))
		user, host, ok := strings.Cut(to, "@")
		if from == "" || !ok || user == "" || host == "" || len(from) > 4 && strings.EqualFold(from[:3], "SRS") && isDigit(from[3]) &&
			strings.IndexByte("=+-", from[4]) >= 0 {
			return 0, ""
		}
		domain := m.Text.RegisteredDomain(host)
		if !m.Text.TopLevel().Valid(domain) {
			return 0, ""
		}
		low := strings.ToLower(from)
		user, domain = strings.ToLower(user)+"@", strings.ToLower(domain)
		for at := 0; ; at++ {
			i := strings.Index(low[at:], domain)
			if i < 0 {
				return 0, ""
			}
			at += i
			end := at + len(domain)
			if boundaryAt([]byte(low), at) && end < len(low) && strings.HasPrefix(low[end+1:], user) {
				return 1, ""
			}
		}
	}, atMost("check_ratware_envelope_from", args, 0)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// unequalDomains reports whether author and envelope's sender are of different domains, by their last two labels.
func unequalDomains(m *Mail) (int, string) {
	from, envelope := lastLabels(m.get(selFromAddr)), lastLabels(m.get(selEnvelopeAddr))
	return yes(from != "" && envelope != "" && from != envelope, from+" "+envelope)
}

func lastLabels(addr []byte) string {
	i := bytes.LastIndexByte(addr, '@')
	if i < 0 {
		return ""
	}
	host := strings.ToLower(string(addr[i+1:]))
	dot := strings.LastIndexByte(host, '.')
	if dot <= 0 || dot == len(host)-1 {
		return host
	}
	if second := strings.LastIndexByte(host[:dot], '.'); second > 0 && second < dot-1 {
		return host[second+1:]
	}
	return host
}
