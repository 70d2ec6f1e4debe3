package eval

import (
	"bytes"
	"regexp"

	"github.com/postern-mail/postern/rules/text"
)

// forgery is what is wrong about mail that says it is of Hotmail.
type forgery uint8

const (
	notForged  forgery = iota
	forgedHelo         // somebody else greets by its name
	forgedFrom         // the author is of Hotmail, and none of its hosts was on the way
)

// ip is an address in a pattern, roughly: what is meant is whether there is one.
const ip = `(?:\d{1,3}(?:\.\d{1,3}){3}|(?:IPv6:)?[0-9a-fA-F]*:[0-9a-fA-F:.]*)`

var (
	selOriginatingIP = text.MustSelector("X-Originating-Ip")
	selOriginatorOrg = text.MustSelector("X-OriginatorOrg")
	selSenderIP      = text.MustSelector("X-Sender-Ip")
	selMailer        = text.MustSelector("X-Mailer")
	selXReceived     = text.MustSelector("X-Received")
	selResentFrom    = text.MustSelector("Resent-From")
	selResentTo      = text.MustSelector("Resent-To")
	selGmState       = text.MustSelector("X-Gm-Message-State")
	selGoogleSource  = text.MustSelector("X-Google-Smtp-Source")

	hotmailOrg   = regexp.MustCompile(`hotmail\.com|msonline-outlook`)
	hotmailByIP  = regexp.MustCompile(`from (?:\S*\.)?hotmail.com \(\S+\.hotmail(?:\.msn)?\.com[ )]|from \S*\.hotmail.com \(\[` + ip + `\][ ):]|from \S+ by \S+\.hotmail(?:\.msn)?\.com with HTTP;|from \[66\.218.\S+\] by \S+\.yahoo\.com`)
	hotmailByOrg = regexp.MustCompile(`from \S*\.outbound\.protection\.outlook\.com \(\S+\.outbound\.protection\.outlook\.com[ )]|from \S*\.(?:eur|nam)prd\d+\.prod\.outlook\.com \(` + ip + `\)`)
	hotmailHelo  = regexp.MustCompile(`(?:from |HELO |helo=)\S*hotmail\.com\b`)
	hotmailFrom  = regexp.MustCompile(`(?i)\bhotmail\.com$`)
	anIP         = regexp.MustCompile(ip)

	groupsTo     = regexp.MustCompile(`(?i)<(\S+)@groups\.msn\.com>`)
	groupsServer = regexp.MustCompile(`from mail pickup service by (p\d\dgroups\.msn\.com|p\d\d\.groups\.msn\.com)\b`)
)

// hotmailForged looks for mail that only says it is of Hotmail.
func (m *Mail) hotmailForged() forgery {
	return m.heads.hotmail.get(func() forgery {
		r := m.received()
		if bytes.Contains(r, []byte("from mail pickup service by hotmail.com with Microsoft SMTPSVC;")) || m.msnGroups() || m.gated() {
			return notForged
		}
		if anIP.Match(m.get(selOriginatingIP)) && hotmailByIP.Match(r) || hotmailOrg.Match(m.get(selOriginatorOrg)) && hotmailByOrg.Match(r) {
			return notForged
		}
		switch {
		case bytes.Contains(r, []byte("hotmail.com")) && hotmailHelo.Match(r):
			return forgedHelo
		case hotmailFrom.Match(m.get(selFromAddr)):
			return forgedFrom
		}
		return notForged
	})
}

// msnGroups reports whether the message is one of the groups that MSN had.
func (m *Mail) msnGroups() bool {
	to := groupsTo.FindSubmatch(m.get(selTo))
	if to == nil {
		return false
	}
	server := groupsServer.FindSubmatch(m.get(selReceived))
	if server == nil {
		return false
	}
	list, id := to[1], m.get(selMessageID)
	if string(list) == "notifications" {
		return bytes.HasPrefix(id, []byte("<")) && bytes.Contains(id, append([]byte("@"), append(server[1], '>')...))
	}
	return bytes.HasPrefix(id, append([]byte("<"), append(bytes.Clone(list), '-')...)) && bytes.Contains(id, []byte("@groups.msn.com>")) &&
		bytes.Contains(m.get(selEnvelopeAddr), append(bytes.Clone(list), "-bounce@groups.msn.com"...))
}

var (
	eudoraFrom = regexp.MustCompile(`(?i)\beudoramail\.com$`)
	eudoraBy   = regexp.MustCompile(`by \S*whowhere.com;`)
)

func forgedEudora(m *Mail) (int, string) {
	if !eudoraFrom.Match(m.get(selFromAddr)) || m.gated() {
		return 0, ""
	}
	return yes(!eudoraBy.Match(m.received()) || !anIP.Match(m.get(selSenderIP)), "")
}

var (
	yahooFrom  = regexp.MustCompile(`(?i)\byahoo\.com$`)
	yahooName  = regexp.MustCompile(`\S\.yahoo\.com$`)
	yahooHosts = regexp.MustCompile(`by web\S+\.mail\S*\.yahoo\.com via HTTP|by sonic\S+\.consmr\.mail\S*\.yahoo\.com with HTTP|` +
		`by smtp\S+\.yahoo\.com with SMTP|from \[` + ip + `\] by \S+\.(?:groups|scd|dcn)\.yahoo\.com with NNFMP|` +
		`by \w+\.\w+\.yahoo\.com \(\d+\.\d+\.\d+/\d+\.\d+\.\d+\)(?: with ESMTP)? id \w+`)
	yahooBulk  = regexp.MustCompile(`\bmailer\d+\.bulk\.scd\.yahoo\.com\b`)
	yahooReply = regexp.MustCompile(`(?i)@reply\.yahoo\.com$`)
)

// forgedYahoo looks for mail of an author at Yahoo that none of its hosts had.
func forgedYahoo(m *Mail) (int, string) {
	from := m.get(selFromAddr)
	if !yahooFrom.Match(from) || m.gated() {
		return 0, ""
	}
	r := m.received()
	if len(m.get(selResentFrom)) > 0 && len(m.get(selResentTo)) > 0 {
		if x := m.get(selXReceived); len(x) > 0 {
			r = squeezed(x)
		}
	}
	relays := m.Text.Relays()
	for i := range relays.Trusted {
		if yahooName.MatchString(relays.Trusted[i].RDNS) {
			return 0, ""
		}
	}
	if len(relays.Untrusted) > 0 && yahooName.MatchString(relays.Untrusted[0].RDNS) {
		return 0, ""
	}
	return yes(!yahooHosts.Match(r) && (!yahooBulk.Match(r) || !yahooReply.Match(from)), "")
}

var (
	junoFrom    = regexp.MustCompile(`(?i)\bjuno\.com$`)
	junoHost    = regexp.MustCompile(`from.*\b(?:juno|untd)\.com.*[\[(]` + ip + `[\])].*by| cookie\.(?:juno|untd)\.com `)
	mailComHost = regexp.MustCompile(`from.*\bmail\.com.*\[` + ip + `\].*by`)
	mailComName = regexp.MustCompile(`\bmail\.com`)
	untdHost    = regexp.MustCompile(`from (webmail\S+\.untd\.com) \((webmail\S+\.untd\.com) \[` + ip + `\]\) by`)
	untdMailer  = regexp.MustCompile(`^Webmail Version \d`)
)

// forgedJuno looks for mail of an author at Juno that did not come by one of its ways.
func forgedJuno(m *Mail) (int, string) {
	if !junoFrom.Match(m.get(selFromAddr)) || m.gated() {
		return 0, ""
	}
	origin, mailer, r := m.get(selOriginatingIP), m.get(selMailer), m.get(selReceived)
	if len(origin) > 0 {
		return yes(!junoHost.Match(r) || !bytes.Contains(mailer, []byte("Juno ")), "")
	}
	if mailComHost.Match(r) {
		return yes(!mailComName.Match(mailer) || !anIP.Match(origin), "")
	}
	same := false
	for _, h := range untdHost.FindAllSubmatch(r, -1) {
		same = same || bytes.Equal(h[1], h[2])
	}
	return yes(!same || !untdMailer.Match(mailer) || !anIP.Match(origin), "")
}

var (
	gmailFrom = regexp.MustCompile(`(?i)\bgmail\.com$`)
	gmailBy   = regexp.MustCompile(`by 10\.\S+ with SMTP id \S+|by 2002:a\d\d:\w+:\S+ with SMTP id \S+`)
	gmailSMTP = regexp.MustCompile(`by smtp\.googlemail\.com with ESMTPSA id \S+`)
)

// gmailLeast is how long the fields are that Gmail adds.
const gmailLeast = 60

// forgedGmail looks for mail of an author at Gmail without the fields that it adds.
func forgedGmail(m *Mail) (int, string) {
	if !gmailFrom.Match(m.get(selFromAddr)) || gmailBy.Match(m.get(selXReceived)) || gmailSMTP.Match(m.get(selReceived)) {
		return 0, ""
	}
	return yes(len(m.get(selGmState)) < gmailLeast || len(m.get(selGoogleSource)) < gmailLeast, "")
}

var gw05 = regexp.MustCompile(`\nfrom\s(\S+)\sby\s(\S+)\swith\sESMTP;\s+\S\S\S,\s+\d+\s+\S\S\S\s+\d{4}\s+\d\d:\d\d:\d\d\s+[-+]*\d{4}\n$`)

func forgedGw05(m *Mail) (int, string) {
	h := gw05.FindSubmatch(m.get(selReceived))
	return yes(h != nil && bytes.IndexByte(h[2], '.') < 0, "")
}
