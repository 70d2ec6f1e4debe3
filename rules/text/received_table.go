package text

import "bytes"

// form is an entry of a table of shapes: what a server writes, and what is to be made of it.
type form struct {
	gate   string // octets that must stand somewhere in the line: most forms are ruled out by looking for them
	shape  *shape
	looked bool // the server looks clients' names up: where it gives none, there is none
	skip   bool // no hop that tells anything: as if the field were not there
	more   func(h *hop, m *matcher)
}

// maker is a server that writes forms of its own. Where a line bears its mark, the forms of the other makers are not tried.
type maker struct {
	mark  func(line []byte) bool
	forms []form
	local func(line []byte) bool         // it took the message on its own machine
	more  func(h *hop, line []byte) bool // after the forms; true: that is all
}

func marked(mark string) func([]byte) bool {
	return func(line []byte) bool { return bytes.Contains(line, []byte(mark)) }
}

// makers are the servers that are told by a mark.
var makers = []maker{
	{mark: marked(" SMTPSVC"), forms: []form{
		{shape: newShape("%H ([%i]%k) by %b with Microsoft SMTPSVC")},
		{shape: newShape("mail pickup service by %t with Microsoft SMTPSVC%$"), skip: true},
	}},
	{mark: isExchange, forms: []form{
		{shape: newShape("%h (%[[%]%i%[%%%z%]%[]%]) by %b "), more: func(h *hop, _ *matcher) { h.id = nil }},
	}},
	{mark: marked("[XMail "), forms: []form{
		{shape: newShape("%h (%[[%]%i%[]%]:%0) by %b%[ (%t)%] with [XMail"), more: xmail},
	}},
	{mark: isEcelerity, forms: []form{
		{shape: newShape("([%i:%0] helo=%h) by %b ")},
		{shape: newShape("%t ([%i:%0]) by %b ")},
	}},
	{mark: marked("Exim"), forms: eximForms, local: eximLocal, more: oddExim},
	{mark: marked(" (Postfix) with"), forms: []form{
		{shape: newShape("%h (%r [%i]) by %b "), looked: true, more: unknownName},
		{shape: newShape("%h (%r[%i]) by %b "), looked: true, more: unknownName},
	}},
	{mark: marked("(Scalix SMTP Relay"), forms: []form{{shape: newShape("%h (%[ %]%i) by %b")}}},
	{mark: marked(" (Lotus Domino "), forms: []form{{shape: newShape("%h ([%i]) by %b (Lotus")}}},
}

var eximForms = []form{
	{shape: newShape("[%i] (%s) by %b "), more: eximInside},
	{shape: newShape("%r ([%i]%s) by %b "), more: func(h *hop, m *matcher) {
		h.helo = h.rdns // where it stands alone
		eximInside(h, m)
	}},
	{shape: newShape("%x [%i]%[:%0%] by %b ")},
}

// sendmailForm is tried for all but a patched qmail, whose fields look like it.
var sendmailForm = form{shape: newShape("%h (%r [%i]%*) by %b ("), looked: true, more: identBefore}

// general are the forms of all the others, up to those of qmail.
var general = []form{
	{shape: newShape("%h (%r [%i]) by %b with %t ("), looked: true},
	{shape: newShape("%r ([%i] helo=%h) by %b with ")},
	{shape: newShape("%h (<unknown%T>[%i]) by %b ")},
	{shape: newShape("%h (%R[%i]) by %b "), looked: true},
	{shape: newShape("%h (%N@[%i]%*) by %b ("), looked: true},
}

// greeted are forms with the greeting in words.
var greeted = []form{
	{shape: newShape("%r (%(HELO%|EHLO%) %H) (%i) by %b (qpsmtpd/%t) with %(ESMTP%|SMTP%)")},
	{shape: newShape("%r (LHLO %H) (%i) by %b with LMTP")},
	{shape: newShape("%r (%(HELO%|EHLO%) %H) [%i] by %b (%c) with %(ESMTP%|SMTP%)")},
	{shape: newShape("%h ([%i]) by %b via smtpd (for %t) with SMTP(")},
}

// qmail is the shape of qmail's fields as a whole; which of qmailForms then tells the parts.
var qmail = newShape("%t%[ (%(HELO%|EHLO%) %T)%] (%[%t@%]%[[%]%I%[]%])%[ (envelope-sender <%t>)%] by %t%[ (%+)%] with %[%* %]%(SMTP%|QMQP%)%~")

var qmailForms = []form{
	{shape: newShape("%r (%(HELO%|EHLO%) %E) (%N@%[[%]%i%[]%])%[ (envelope-sender <%t>)%] by %b")},
	{shape: newShape("%r (%(HELO%|EHLO%) %E) (%[[%]%i%[]%])%[ (envelope-sender <%t>)%] by %b")},
	{shape: newShape("%x (%N@%[[%]%i%[]%])%[ (envelope-sender <%t>)%] by %b")},
	{shape: newShape("%x (%[[%]%i%[]%])%[ (envelope-sender <%t>)%] by %b")},
}

// others are the forms after qmail's, up to the place where programs that fetch mail are looked for.
var others = []form{
	{gate: " via HTTP", shape: newShape("[%i] by %b via HTTP%$")},
	{shape: newShape("%t ( [%i])%? by %b ")},
	{shape: newShape("(%h [%i]) by %b ")},
	{shape: newShape("[%i] by %b ")},
	{shape: newShape("(%[[%]%i%[]%]) by %b ")},
	{shape: newShape("%h [%i] by %b [%I] with "), looked: true},
	{shape: newShape("%h [(%i)] by %b (%I) ")},
	{shape: newShape("%h ([%i]) by %b ("), looked: true},
	{shape: newShape("%h (%r [%i])%? by %w"), looked: true, more: courierName},
	{shape: newShape("%h ([%i%[%(.%|:%)%0%]])%? by %b "), looked: true},
}

// rest are the forms after that.
var rest = []form{
	{shape: newShape("%r (%(HELO%|EHLO%) %F) (%[%N@%]%[[%]%i%[]%])%* by %b "), looked: true},
	{shape: newShape("%x (%[%N@%]%[[%]%i%[]%])%* by %b "), looked: true},
	{gate: " via smap ", shape: newShape("%r(%i) by %b via smap "), looked: true},
	{gate: " via smap ", shape: newShape("%r(%i, %(HELO%|EHLO%) %H) by %b via smap "), looked: true},
	{shape: newShape("%i by %b (%(SMTPL%|InterScan%)%B")},
	{gate: " with BSMTP", shape: newShape("%t by %t with BSMTP"), skip: true},
	{shape: newShape("%r (%(HELO%|EHLO%) %H) (%[%n@%]%i%?) by %b with "), looked: true},
	{shape: newShape("[%i] (%[account %t %]%(HELO%|EHLO%) %H) by %b (")},
	{gate: " (CommuniGate Pro", shape: newShape("%x ([%i] verified) by %b ("), looked: true},
	{shape: newShape("%g (%i) by %b ")},
	{gate: " (Content Technologies ", shape: newShape("%t (%t) by %t (Content Technologies "), skip: true},
	{shape: newShape("%h ([%i] [%t]) by %b with ")},
	{shape: newShape("%i by %b with ")},
	{shape: newShape("%h (%r[%i]) by %b "), looked: true},
	{shape: newShape("[%i]%t (%(HELO%|EHLO%) %H) by %b ")},
	{shape: newShape("%i (%(HELO%|EHLO%) %H) by %b ")},
	{shape: newShape("%h [%i] by %b ")},
	{shape: newShape("%r(%i) by %b ")},
	{shape: newShape("%i (%a%c) by %b with ")},
	{shape: newShape("[%i] (%S) by %b "), more: eximInside},
	{shape: newShape("%r (%[%t@%]%i) by %b with ")},
	{gate: "via ", shape: newShape("%r(%i)%[, claiming to be \"%h\"%] via %t by %b,"), more: obtuse},
	{gate: " with login) by ", shape: newShape("%h (%t@%i with login) by %y with SMTP")},
}

// ignored are forms that tell of no hop over the network, or not enough of it.
var ignored = []form{
	{shape: newShape("%t (%m@%L) by %t (")},
	{gate: " with local-", shape: newShape("%t %t by %t with local-%[e%]smtp ")},
	{gate: "(AVG SMTP", shape: newShape("127.0.0.1 (AVG SMTP %t [%t])")},
	{shape: newShape("%t@%t by %t ")},
	{shape: newShape("Unknown/Local (")},
	{shape: newShape("%L (%[%t@%]%L%()%|[%)")},
	{shape: newShape("%t (%[%t@%]%L) ")},
	{shape: newShape("%t (%t@%t [%L]) ")},
	{shape: newShape("(AUTH: %t) by %t with ")},
	{shape: newShape("localhost (localhost [[UNIX: localhost]]) by ")},
	{gate: "(peer crosscheck: ", shape: newShape("%t.amazon.com by %t.amazon.com with ESMTP (peer crosscheck: ")},
	{gate: "Novell_GroupWise", shape: newShape("%j by %t with Novell_GroupWise")},
	{shape: newShape("no.name.available by %t via smtpd (for ")},
	{gate: " with qmail-scanner", shape: newShape("%t by %t (%q) with qmail-scanner"), more: scannerSender},
	{shape: newShape("%t by %t with local")},
	{gate: "LMTPA", shape: newShape("%t ([unix socket]) by %t (Cyrus v%v.%v.%v) with LMTPA")},
	{shape: newShape("%t by %t %(with%|via%|for%|(%)")},
	{shape: newShape("%t %(%(with%|via%|for%) %t%|(unverified)%) by%B")},
	{gate: "(SG)", shape: newShape("%t (unknown) by %t (SG) with %B")},
	{gate: "(OpenSMTPD)", shape: newShape("%t (%t [local]) by %t (OpenSMTPD) with %B")},
	{gate: "(LSMTP for", shape: newShape("%?(LSMTP for")},
	{gate: "MailEnable", shape: newShape("([%L]) with MailEnable ")},
	{gate: "Thrift", shape: newShape("facebook.com (%c) by facebook.com with Thrift id %t%$")},
	{gate: "HTTPREST", shape: newShape("%t named %t by gmailapi.google.com with HTTPREST%$")},
	{gate: " id ", shape: newShape("%t id %t%$")},
	{gate: "Jetsend", shape: newShape("[<%? (Jetsend")},
}

// Fields that begin in other ways.
var (
	simtaForm = form{shape: newShape("%h (%r [%i]) BY %b %[(%c) WITH SMTP %]ID %[<%]%D%[>%]%[ FOR <%u>%]%$"), looked: true, more: func(h *hop, _ *matcher) {
		if string(h.rdns) == "unverified" {
			h.rdns = nil
		}
	}}
	nortonForm    = form{shape: newShape("%H [%i]) by %b (NAVGW %?) with ")}
	submitForm    = form{shape: newShape("%t@localhost) by %t "), skip: true}
	jqueueForm    = form{gate: "(jqueuemail)", shape: newShape("%m@%c) by %t(jqueuemail) id %e"), skip: true}
	webmailForm   = form{gate: "with HTTP", shape: newShape("%i ([%I]) by %b")}
	aolForm       = form{gate: "with HTTP (WebMailUI)", shape: newShape("%?%i by %b (%I) with HTTP (WebMailUI)")}
	qmailLDAPMark = newShape("%? by %t (qmail-%t) with ")
)
