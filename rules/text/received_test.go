package text

import (
	"strings"
	"testing"
	"time"
)

// receivedCases are a Received field of each form, and what SpamAssassin makes of it.
var receivedCases = []struct{ field, want string }{
	{
		"from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (Postfix) with ESMTP id 4Abc123; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.1 rdns=mail.example.org helo=mail.example.org by=mx.example.net id=4Abc123",
	},
	{
		"from helo.example (unknown [192.0.2.2]) by mx.example.net (Postfix) with ESMTPSA id 4Abc124 for <u@example.net>; Mon, 2 Jan 2006 15:04:05 +0000 (UTC)",
		"ip=192.0.2.2 helo=helo.example by=mx.example.net id=4Abc124 auth=ESMTPSA nordns",
	},
	{
		"from [192.0.2.3] (host3.example.org[192.0.2.3]) by mx.example.net (Postfix) with SMTP id 5DDD12",
		"ip=192.0.2.3 rdns=host3.example.org helo=!192.0.2.3! by=mx.example.net id=5DDD12",
	},
	{
		"from pc (pc.example.org [IPv6:2001:db8::5]) (Authenticated sender: u@example.org) by mx.example.net (Postfix) with ESMTPS id 77AA",
		"ip=2001:db8::5 rdns=pc.example.org helo=pc by=mx.example.net id=77AA auth=Postfix",
	},
	{
		"from pc (pc.example.org [192.0.2.5]) (Authenticated sender: u@example.org) by mx.example.net (Mailname) with ESMTPS id 77AB",
		"ip=192.0.2.5 rdns=pc.example.org helo=pc by=mx.example.net id=77AB auth=Postfix (Mailname)",
	},
	{
		"from one ([192.0.2.6] unverified) by two.example.org with Microsoft SMTPSVC(6.0.1); Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.6 helo=one by=two.example.org",
	},
	{
		"from mail pickup service by two.example.org with Microsoft SMTPSVC; Mon, 2 Jan 2006 15:04:05 +0000",
		"skipped",
	},
	{
		"from A.example.org ([fe80::1:2:3:4%6]) by B.example.org ([fe80::9%7]) with mapi id 15.20.1.23; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=fe80::1:2:3:4 helo=A.example.org by=B.example.org",
	},
	{
		"from A.example.org (2001:db8::7) by B.example.org (192.0.2.8) with Microsoft SMTP Server (version=TLS1_2, cipher=X) id 15.1.2.3; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=2001:db8::7 rdns=A.example.org helo=A.example.org by=B.example.org id=15.1.2.3",
	},
	{
		"from c.example.org (192.0.2.9:2525) by mx.example.net (192.0.2.10:25) with [XMail 1.2 ESMTP Server] id <S12> for <u@example.net> from <b@c.example.org>; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.9 helo=c.example.org by=mx.example.net envfrom=b@c.example.org id=S12",
	},
	{
		"from ([192.0.2.11:1234] helo=d.example.org) by e.example.org (ecelerity 2.1 r(1)) with ESMTP id 12/34",
		"ip=192.0.2.11 helo=d.example.org by=e.example.org id=12/34",
	},
	{
		"from root (helo=f.example.org) by g.example.org with local-esmtp (Exim 4.9) id 1abc-000",
		"skipped",
	},
	{
		"from [192.0.2.12] (helo=h.example.org ident=joe) by mx.example.net with smtp (Exim 3.35 #1) id 18t2z0-00",
		"ip=192.0.2.12 helo=h.example.org by=mx.example.net ident=joe id=18t2z0-00",
	},
	{
		"from i.example.org ([192.0.2.13] helo=j.example.org ident=x) by mx.example.net with esmtp (Exim 4.9) id 1abd-000",
		"ip=192.0.2.13 rdns=i.example.org helo=j.example.org by=mx.example.net ident=x id=1abd-000",
	},
	{
		"from k.example.org ([192.0.2.14]:5223) by mx.example.net with esmtps (TLS1.2) (Exim 4.94) (envelope-from <s@k.example.org>) id 1abe-000",
		"ip=192.0.2.14 rdns=k.example.org helo=k.example.org by=mx.example.net envfrom=s@k.example.org id=1abe-000",
	},
	{
		"from l.example.org [192.0.2.15] by mx.example.net with esmtp (Exim 3.35) id 1abf-000",
		"ip=192.0.2.15 rdns=l.example.org helo=l.example.org by=mx.example.net id=1abf-000",
	},
	{
		"from m.example.org (n.example.org) [192.0.2.16.1234] (mail) by mx.example.net with esmtp (Exim 3.35) id 1abg-000",
		"ip=192.0.2.16 rdns=m.example.org helo=n.example.org by=mx.example.net id=1abg-000",
	},
	{
		"from pc ( 192.0.2.17) by mx.example.net (Scalix SMTP Relay 10.0) via ESMTP; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.17 helo=pc by=mx.example.net",
	},
	{
		"from o.example.org ([192.0.2.18]) by mx.example.net (Lotus Domino Release 8) with ESMTP id 2006",
		"ip=192.0.2.18 helo=o.example.org by=mx.example.net id=2006",
	},
	{
		"from 192.0.2.19 ([192.0.2.20]) by web.example.org (IMP) with HTTP for <u@localhost>",
		"ip=192.0.2.19 by=web.example.org auth=HTTP",
	},
	{
		"from 192.0.2.21 (SquirrelMail authenticated user joe) by web.example.org with HTTP; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.21 by=web.example.org auth=HTTP",
	},
	{
		"from 192.0.2.22 by FWM.sysops.aol.com (192.0.2.23) with HTTP (WebMailUI); Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.22 by=FWM.sysops.aol.com auth=HTTP",
	},
	{
		"from p.example.org (IDENT:joe@q.example.org [192.0.2.24] (may be forged)) by mx.example.net (8.14/8.14) with ESMTP id k12",
		"ip=192.0.2.24 rdns=q.example.org helo=p.example.org by=mx.example.net ident=joe id=k12",
	},
	{
		"from r.example.org (joe@r.example.org [192.0.2.25]) (authenticated bits=0) by mx.example.net (8.14/8.14) with ESMTP id k13",
		"ip=192.0.2.25 rdns=r.example.org helo=r.example.org by=mx.example.net ident=joe id=k13 auth=Sendmail",
	},
	{
		"from s.example.org (192.0.2.26 [192.0.2.26]) by mx.example.net with SMTP (Exchange 5.5) id G69",
		"ip=192.0.2.26 rdns=192.0.2.26 helo=s.example.org by=mx.example.net id=G69",
	},
	{
		"from t.example.org ([192.0.2.27] helo=u.example.org) by mx.example.net with smtp id 190",
		"ip=192.0.2.27 rdns=t.example.org helo=u.example.org by=mx.example.net id=190",
	},
	{
		"from v.example.org (<unknown.domain>[192.0.2.28]) by mx.example.net (mx) with SMTP id <2006>",
		"ip=192.0.2.28 helo=v.example.org by=mx.example.net id=2006",
	},
	{
		"from w.example.org (x.example.org[192.0.2.29]) by mx.example.net (mx) with SMTP id <2007>",
		"ip=192.0.2.29 rdns=x.example.org helo=w.example.org by=mx.example.net id=2007",
	},
	{
		"from y (joe@[192.0.2.30]) by mx.example.net (8.11/8.11) with SMTP id h8B",
		"ip=192.0.2.30 helo=y by=mx.example.net ident=joe id=h8B nordns",
	},
	{
		"from 192.0.2.31 by f1.law1.hotmail.msn.com with HTTP; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.31 by=f1.law1.hotmail.msn.com auth=HTTP",
	},
	{
		"from z.example.org (HELO a1.example.org) (192.0.2.32) by mx.example.net (qpsmtpd/0.27) with ESMTP; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.32 rdns=z.example.org helo=a1.example.org by=mx.example.net",
	},
	{
		"from b1.example.org (LHLO b1.example.org) (192.0.2.33) by b1.example.org with LMTP; Mon, 2 Jan 2006 15:04:05 -0700 (PDT)",
		"ip=192.0.2.33 rdns=b1.example.org helo=b1.example.org by=b1.example.org",
	},
	{
		"from c1.example.org (EHLO pc) [192.0.2.34] by mail.gmx.net (mp010) with SMTP; 2 Jan 2006 15:04:05 +0100",
		"ip=192.0.2.34 rdns=c1.example.org helo=pc by=mail.gmx.net auth=GMX (SMTP / mail.gmx.net)",
	},
	{
		"from d1.example.org (HELO e1.example.org) (joe@192.0.2.35) by mx.example.net with SMTP; 2 Jan 2006 15:04:05 -0000",
		"ip=192.0.2.35 rdns=d1.example.org helo=e1.example.org by=mx.example.net ident=joe",
	},
	{
		"from unknown (HELO f1.example.org) ([192.0.2.36]) (envelope-sender <s@f1.example.org>) by mx.example.net (qmail-ldap-1.03) with SMTP for <u@example.net>; 2 Jan 2006 15:04:05 -0000",
		"ip=192.0.2.36 helo=f1.example.org by=mx.example.net envfrom=s@f1.example.org",
	},
	{
		"from g1.example.org (joe@192.0.2.37) by mx.example.net with SMTP; 2 Jan 2006 15:04:05 -0000",
		"ip=192.0.2.37 rdns=g1.example.org helo=g1.example.org by=mx.example.net ident=joe",
	},
	{
		"from h1.example.org (192.0.2.38) by mx.example.net with RC4-SHA encrypted SMTP; 2 Jan 2006 15:04:05 -0000",
		"ip=192.0.2.38 rdns=h1.example.org helo=h1.example.org by=mx.example.net",
	},
	{
		"from [192.0.2.39] by web1.example.org via HTTP; Mon, 02 Jan 2006 15:04:05 PST",
		"ip=192.0.2.39 by=web1.example.org",
	},
	{
		"from i1 ( [192.0.2.40]) as user joe@localhost by mx.example.net with HTTPX; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.40 by=mx.example.net",
	},
	{
		"from (j1.example.org [192.0.2.41]) by mx.example.net with ESMTP id BQB",
		"ip=192.0.2.41 helo=j1.example.org by=mx.example.net id=BQB",
	},
	{
		"from [192.0.2.42] by mx.example.net (MessageWall 1.1) with SMTP; 2 Jan 2006 15:04:05 -0000",
		"ip=192.0.2.42 by=mx.example.net",
	},
	{
		"from ([192.0.2.43]) by mx.example.net with ESMTP id 442",
		"ip=192.0.2.43 by=mx.example.net id=442",
	},
	{
		"from k1 [192.0.2.44] by mx.example.net [192.0.2.45] with SMTP (MDaemon) for <u@example.net>",
		"ip=192.0.2.44 helo=k1 by=mx.example.net nordns",
	},
	{
		"from l1.example.org [(192.0.2.46)] by mx.example.net (192.0.2.47) (MDaemon PRO v19) with ESMTP id md5",
		"ip=192.0.2.46 helo=l1.example.org by=mx.example.net id=md5",
	},
	{
		"from m1.example.org ([192.0.2.48]) by mx.example.net (8.11/8.11) with ESMTP id h2F",
		"ip=192.0.2.48 helo=m1.example.org by=mx.example.net id=h2F nordns",
	},
	{
		"from n1.example.org (softdnserr [::ffff:192.0.2.49]) by mx.example.net with esmtp; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=192.0.2.49 helo=n1.example.org by=mx.example.net",
	},
	{
		"from o1.example.org (o1.example.org [192.0.2.50]) via ESMTP by mx.example.net (8.12/) id h06",
		"ip=192.0.2.50 rdns=o1.example.org helo=o1.example.org by=mx.example.net id=h06",
	},
	{
		"from p1.example.org ([192.0.2.51.1234]) by mx.example.net with esmtp (v3.35) id 1GN",
		"ip=192.0.2.51 helo=p1.example.org by=mx.example.net id=1GN nordns",
	},
	{
		"from q1.example.org [127.0.0.1] by localhost with IMAP (fetchmail-5.9.0) for u@localhost (single-drop)",
		"skipped",
	},
	{
		"from r1.example.org (HELO s1 example) (joe@192.0.2.52) by mx.example.net xyz",
		"ip=192.0.2.52 rdns=r1.example.org helo=s1!example by=mx.example.net ident=joe",
	},
	{
		"from t1.example.org (joe@192.0.2.53) via by mx.example.net xyz",
		"ip=192.0.2.53 rdns=t1.example.org helo=t1.example.org by=mx.example.net ident=joe",
	},
	{
		"from u1.example.org(192.0.2.54) by mx.example.net via smap (V1.3) id xma",
		"ip=192.0.2.54 rdns=u1.example.org by=mx.example.net id=xma",
	},
	{
		"from v1.example.org(192.0.2.55, HELO w1.example.org) by mx.example.net via smap (V1.3) id xmb",
		"ip=192.0.2.55 rdns=v1.example.org helo=w1.example.org by=mx.example.net id=xmb",
	},
	{
		"from 192.0.2.56 by mx.example.net (InterScan E-Mail VirusWall NT); Mon, 2 Jan 2006 15:04:05 -0800",
		"ip=192.0.2.56 by=mx.example.net",
	},
	{
		"from x1.example.org by mx.example.net with BSMTP (rsmtp 0.4) for u@example.net",
		"skipped",
	},
	{
		"from y1.example.org (HELO PC) (joe@192.0.2.57 with plain) by mx.example.net with SMTP; 2 Jan 2006 15:04:05 -0000",
		"ip=192.0.2.57 rdns=y1.example.org helo=PC by=mx.example.net ident=joe",
	},
	{
		"from [192.0.2.58] (account joe HELO [192.0.2.58]) by mx.example.net (CommuniGate Pro SMTP 3.5.7) with ESMTP id 2088",
		"ip=192.0.2.58 helo=!192.0.2.58! by=mx.example.net id=2088 auth=Communigate",
	},
	{
		"from z1.example.org ([192.0.2.59] verified) by mx.example.net (CommuniGate Pro SMTP 5.1) with ESMTP id 9786",
		"ip=192.0.2.59 rdns=z1.example.org helo=z1.example.org by=mx.example.net id=9786",
	},
	{
		"from a2.example.org (192.0.2.60) by mx.example.net (6.7.018)",
		"ip=192.0.2.60 rdns=a2.example.org helo=a2.example.org by=mx.example.net",
	},
	{
		"from b2.example.org (b2.example.org) by mx.example.net (Content Technologies SMTPRS 4.2) with ESMTP id <T61>",
		"skipped",
	},
	{
		"from c2.example.org ([192.0.2.61] [192.0.2.61]) by mx.example.net with ESMTP; Mon, 2 Jan 2006 15:04:05 -0500",
		"ip=192.0.2.61 helo=c2.example.org by=mx.example.net nordns",
	},
	{
		"from 192.0.2.62 by mx.example.net with ESMTP (Tumbleweed MMS)",
		"ip=192.0.2.62 by=mx.example.net",
	},
	{
		"from [192.0.2.63]:50999 (HELO d2.example.org) by mx.example.net ([192.0.2.64]:25) (F-Secure) with SMTP",
		"ip=192.0.2.63 helo=d2.example.org by=mx.example.net",
	},
	{
		"from 192.0.2.65 (HELO pc) by mx.example.net (192.0.2.66) with SMTP",
		"ip=192.0.2.65 helo=pc by=mx.example.net",
	},
	{
		"from pc [192.0.2.67] by mx.example.net (SMTPD32-7.07) id A4CE7F2A0028",
		"ip=192.0.2.67 helo=pc by=mx.example.net id=A4CE7F2A0028",
	},
	{
		"from nodns(192.0.2.68) by mx.example.net via csmap (V4.1) id src",
		"ip=192.0.2.68 rdns=nodns by=mx.example.net id=src",
	},
	{
		"from [192.0.2.69] (helo=e2.example.org) by mx.example.net with ESMTP (Nemesis), id 0MK",
		"ip=192.0.2.69 helo=e2.example.org by=mx.example.net id=0MK",
	},
	{
		"from f2.example.org (joe?x@192.0.2.70) by mx.example.net with SMTQ",
		"ip=192.0.2.70 rdns=f2.example.org helo=f2.example.org by=mx.example.net ident=joe?x",
	},
	{
		`from g2.example.org(192.0.2.71), claiming to be "h2.example.org" via SMTP by mx.example.net, id smtpd1`,
		"ip=192.0.2.71 rdns=g2.example.org helo=h2.example.org by=mx.example.net id=smtpd1",
	},
	{
		"from UNKNOWN(192.0.2.72) via SMTP by mx.example.net, id smtpd2",
		"ip=192.0.2.72 by=mx.example.net id=smtpd2",
	},
	{
		"from i2 (joe@192.0.2.73 with login) by smtp1.mail.ne1.yahoo.com with SMTP; 2 Jan 2006 15:04:05 -0800 PST",
		"ip=192.0.2.73 helo=i2 by=smtp1.mail.ne1.yahoo.com",
	},
	{
		"FROM j2.example.org (k2.example.org [192.0.2.74]) BY mx.example.net ID 434B508E.1 ; 2 Jan 2006 15:04:05 -0400",
		"ip=192.0.2.74 rdns=k2.example.org helo=j2.example.org by=mx.example.net id=434B508E.1",
	},
	{
		"FROM l2.example.org (unverified [192.0.2.75]) BY mx.example.net (Rockliffe SMTPRA 10) WITH SMTP ID <B006@mx.example.net> FOR <u@example.net>; Mon, 2 Jan 2006 15:04:05 +0200",
		"ip=192.0.2.75 helo=l2.example.org by=mx.example.net id=B006@mx.example.net nordns",
	},
	{
		"(from localhost [192.0.2.76]) by mx.example.net (NAVGW 2.5) with SMTP id M2006",
		"ip=192.0.2.76 helo=localhost by=mx.example.net id=M2006",
	},
	{
		"(from joe@localhost) by mx.example.net (8.12/8.12/Submit) id iBA",
		"skipped",
	},
	{
		"from joe (joe@localhost) by mx.example.net (8.9/8.8) with ESMTP id KAA",
		"skipped",
	},
	{
		"from joe@m2.example.org by mx.example.net (mail_out) id 7.53",
		"skipped",
	},
	{
		"from localhost (localhost [127.0.0.1]) (uid 500) by mail with local; Mon, 2 Jan 2006 15:04:05 -0600",
		"ip=127.0.0.1 rdns=localhost helo=localhost by=mail",
	},
	{
		"from n2.example.org by mx.example.net with qmqp; Mon, 2 Jan 2006 15:04:05 -0000",
		"skipped",
	},
	{
		"from something strange here",
		"unreadable",
	},
	{
		"from 192.0.2.77 by mx.example.net (envelope-from <s@o2.example.org>, uid 502) with qmail-scanner-1.24 (x. Clear:RC:0.)",
		"skipped",
	},
	{
		"from p2 by q2.example.org ; Mon, 2 Jan 2006 15:04:05 +0100",
		"skipped",
	},
	{
		"by r2.example.org (Postfix, from userid 1000) id DAB; Mon, 2 Jan 2006 15:04:05 +0100",
		"skipped",
	},
	{
		"from facebook.com (abc 2401:db00::1) by facebook.com with Thrift id 4237",
		"skipped",
	},
	{
		"from s2.example.org id <B5b8>; Mon, 2 Jan 2006 15:04:05 +0200",
		"skipped",
	},
	{
		"from t2.example.org (example.com [local]) by mx.example.net (OpenSMTPD) with ESMTPA id 5db",
		"skipped",
	},
	{
		"from u2.example.org ([127.0.0.1]) (AUTH: LOGIN joe@example.org) by mx.example.net with esmtp; Mon, 2 Jan 2006 15:04:05 +0000",
		"ip=127.0.0.1 helo=u2.example.org by=mx.example.net auth=LOGIN nordns",
	},
	{
		"from v2.example.org. (v2.example.org. [192.0.2.78])by mx.example.net (Postfix) with SMTP id 846CF2117for <u@example.net>; Mon,  2 Jan 2006 15:04:05 +0200",
		"ip=192.0.2.78 rdns=v2.example.org helo=v2.example.org. by=mx.example.net id=846CF2117for",
	},
	{
		"from unknown by mx.example.net (via HTTPU) [192.0.2.79]",
		"skipped",
	},
}

// told writes what a field says as the cases have it.
func told(field string) string {
	var r receivedReader
	relay, v := r.read([]byte(field))
	switch v {
	case skipped, fetched:
		return "skipped"
	case unreadable:
		return "unreadable"
	}
	var parts []string
	for _, p := range [][2]string{
		{"ip", relay.IP},
		{"rdns", relay.RDNS},
		{"helo", relay.Helo},
		{"by", relay.By},
		{"ident", relay.Ident},
		{"envfrom", relay.EnvFrom},
		{"id", relay.ID},
		{"auth", relay.Auth},
	} {
		if p[1] != "" {
			parts = append(parts, p[0]+"="+p[1])
		}
	}
	if relay.NoRDNS {
		parts = append(parts, "nordns")
	}
	return strings.Join(parts, " ")
}

func TestReceived(t *testing.T) {
	for _, c := range receivedCases {
		if got := told(c.field); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.field, got, c.want)
		}
	}
}

func FuzzReceived(f *testing.F) {
	for _, c := range receivedCases {
		f.Add(c.field)
	}
	f.Fuzz(func(t *testing.T, field string) {
		if len(field) > maxValue {
			return
		}
		begin := time.Now()
		got := told(field)
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		if strings.ContainsAny(got, "[]<>\x00\n") && got != "unreadable" && got != "skipped" && !strings.Contains(got, "id=") && !strings.Contains(got, "auth=") {
			t.Errorf("%q passes on syntax: %q", field, got)
		}
	})
}
