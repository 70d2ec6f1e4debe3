package eval

import (
	"strings"
	"testing"
	"time"
)

// received is a Received field of a plain hop.
func received(helo, rdns, ip, by, date string) string {
	return "Received: from " + helo + " (" + rdns + " [" + ip + "])\n\tby " + by + " (Postfix) with ESMTP id AB12CD;\n\t" + date + "\n"
}

const noon = "Mon, 2 Jan 2006 12:00:00 +0000"

func TestHeaderFunctions(t *testing.T) {
	hop := received("a.example", "a.example", "192.0.2.1", "b.example", noon)
	for _, c := range []struct {
		name, message string
		calls         []call
	}{
		{"AOL's relay", "Received: from x (y [192.0.2.1]) by rly-xw01.mx.aol.com with QMQP; " + noon + "\n\n", []call{{"check_for_fake_aol_relay_in_rcvd", 1}}},
		{"AOL's own", "Received: from x by rly-xw01.mx.aol.com (8.8.8/8.8.8/AOL-5.0.0) with SMTP; " + noon + "\n\n", []call{{"check_for_fake_aol_relay_in_rcvd", 0}}},
		{"controls", "Subject: a\x01b\x02c\nFrom: x@a.example\n\n", []call{
			{"check_illegal_chars Subject 0.00 2", 1},
			{"check_illegal_chars Subject 0.00 3", 0},
			{"check_illegal_chars Subject 0.9 2", 0},
			{"check_illegal_chars From 0.20 2", 0},
			{"check_illegal_chars ALL 0.010 2", 1},
		}},
		{"UTF-8", "Subject: äöü\n\n", []call{{"check_illegal_chars Subject 0.00 2", 0}}},
		{"Latin-1", "Subject: \xe4\xf6\n\n", []call{{"check_illegal_chars Subject 0.00 2", 1}}},
		{"a pound", "Subject: \xa3 and \xe4\n\n", []call{{"check_illegal_chars Subject 0.00 2", 0}, {"check_illegal_chars Subject 0.00 1", 1}}},
		{"no field", "From: a@b.example\n\n", []call{{"check_illegal_chars Subject 0.00 0", 0}, {"gated_through_received_hdr_remover", 1}, {"check_no_relays", 1}}},
		{"a hop", hop + "\n", []call{{"gated_through_received_hdr_remover", 0}, {"check_no_relays", 0}}},
		{"Hotmail by name", hop + "Received: from mail.hotmail.com (evil [198.51.100.1]) by c.example (Postfix) with SMTP id ABCD\nFrom: x@other.example\n\n", []call{
			{"check_for_forged_hotmail_received_headers", 1}, {"check_for_no_hotmail_received_headers", 0},
		}},
		{"Hotmail by author", hop + "From: x@hotmail.com\n\n", []call{
			{"check_for_forged_hotmail_received_headers", 0}, {"check_for_no_hotmail_received_headers", 1},
		}},
		{"Hotmail's own", "Received: from EUR01-VE1-obe.outbound.protection.outlook.com (mail-1.outbound.protection.outlook.com [192.0.2.66]) by c.example (Postfix) with ESMTPS id ABCD\n" +
			"X-OriginatorOrg: hotmail.com\nFrom: x@hotmail.com\n\n", []call{
			{"check_for_forged_hotmail_received_headers", 0}, {"check_for_no_hotmail_received_headers", 0},
		}},
		{"Eudora", hop + "From: x@eudoramail.com\n\n", []call{{"check_for_forged_eudoramail_received_headers", 1}}},
		{"Yahoo", hop + "From: x@yahoo.com\n\n", []call{{"check_for_forged_yahoo_received_headers", 1}}},
		{"Yahoo's own", hop + "Received: from [192.0.2.3] by web1.mail.x.yahoo.com via HTTP; " + noon + "\nFrom: x@yahoo.com\n\n", []call{{"check_for_forged_yahoo_received_headers", 0}}},
		{"Yahoo's relay", received("x", "nm1.mail.yahoo.com", "192.0.2.1", "b.example", noon) + "From: x@yahoo.com\n\n", []call{{"check_for_forged_yahoo_received_headers", 0}}},
		{"Juno", hop + "From: x@juno.com\n\n", []call{{"check_for_forged_juno_received_headers", 1}}},
		{"Juno's own", "Received: from m1.untd.com (m1.untd.com [192.0.2.1]) by c.example (Postfix) with SMTP id ABC1\nX-Originating-IP: [192.0.2.2]\nX-Mailer: Juno Webmail 1\nFrom: x@juno.com\n\n", []call{
			{"check_for_forged_juno_received_headers", 0},
		}},
		{"Gmail", hop + "From: x@gmail.com\n\n", []call{{"check_for_forged_gmail_received_headers", 1}}},
		{"Gmail's own", hop + "X-Received: by 10.1.2.3 with SMTP id abc\nFrom: x@gmail.com\n\n", []call{{"check_for_forged_gmail_received_headers", 0}}},
		{"Gmail's fields", hop + "X-Gm-Message-State: " + strings.Repeat("a", 70) + "\nX-Google-Smtp-Source: " + strings.Repeat("b", 70) + "\nFrom: x@gmail.com\n\n", []call{
			{"check_for_forged_gmail_received_headers", 0},
		}},
		{"envelope", "Return-Path: <A@x.example>\nFrom: a@X.example\nTo: b@y.example\n\n", []call{
			{"check_for_matching_env_and_hdr_from", 1}, {"check_equal_from_domains", 0}, {"check_for_missing_to_header", 0},
		}},
		{"another envelope", "Return-Path: <a@mail.z.example>\nFrom: a@x.example\n\n", []call{
			{"check_for_matching_env_and_hdr_from", 0}, {"check_equal_from_domains", 1}, {"check_for_missing_to_header", 1},
		}},
		{"a host below", "Return-Path: <a@mail.x.example>\nFrom: a@x.example\nApparently-To: c@d.example\n\n", []call{
			{"check_equal_from_domains", 0}, {"check_for_missing_to_header", 0},
		}},
		{"no author", "Return-Path: <a@x.example>\n\n", []call{{"check_equal_from_domains", 0}}},
		{"sorted", "To: aaa@a.example, aab@b.example, aac@c.example, aad@d.example\nCc: aae@e.example, aaf@f.example, aag@g.example\n\n", []call{
			{"sorted_recipients", 1}, {"similar_recipients 0.65 undef", 1}, {"similar_recipients undef 0.65", 0},
		}},
		{"a few", "To: b@x.example, a@y.example\nBcc: z@q.example\n\n", []call{{"sorted_recipients", 0}, {"similar_recipients 0.65 undef", 0}}},
		{"capitals", "Subject: Re: FREE MONEY NOW\n\n", []call{{"subject_is_all_caps", 1}}},
		{"one word", "Subject: FREEMONEYNOW\n\n", []call{{"subject_is_all_caps", 0}}},
		{"short", "Subject: FREE NOW\n\n", []call{{"subject_is_all_caps", 0}}},
		{"digits", "Subject: 123 456 789 012\n\n", []call{{"subject_is_all_caps", 0}}},
		{"Japanese", "Subject: =?iso-2022-jp?B?GyRCJCIkJBsoQg==?= FREE MONEY\n\n", []call{{"subject_is_all_caps", 0}}},
		{"name called", "To: joe@x.example\nSubject: joe, look\n\n", []call{{"check_for_to_in_subject user", 1}, {"check_for_to_in_subject address", 0}}},
		{"name and more", "To: joe@x.example\nSubject: joe looks\n\n", []call{{"check_for_to_in_subject user", 0}}},
		{"name alone", "To: Joe <joe@x.example>\nSubject: JOE\n\n", []call{{"check_for_to_in_subject user", 1}}},
		{"name answered", "To: joe@x.example\nSubject: Re: hello joe\n\n", []call{{"check_for_to_in_subject user", 1}}},
		{"name between commas", "To: joe@x.example\nSubject: , joe!\n\n", []call{{"check_for_to_in_subject user", 1}}},
		{"address", "To: joe@x.example\nSubject: to JOE@x.example now\n\n", []call{{"check_for_to_in_subject address", 1}}},
		{"Outlook", "Message-ID: <000001c60f95$00000000$01000000@x.example>\nDate: Mon, 2 Jan 2006 12:00:00 +0000\n\n", []call{{"check_outlook_message_id", 0}}},
		{"not Outlook's time", "Message-ID: <000099c60f95$00000000$01000000@x.example>\nDate: Mon, 2 Jan 2006 12:00:00 +0000\n\n", []call{{"check_outlook_message_id", 1}}},
		{"list", "List-Unsubscribe: <mailto:leave-1@l.example>\n" + hop + "\n", []call{{"check_messageid_not_usable", 1}}},
		{"no list", hop + "\n", []call{{"check_messageid_not_usable", 0}}},
		{"twice", "Subject: a\nSubject: b\nContent-Type: text/plain\nContent-Type: text/plain\n\n", []call{
			{"check_header_count_range Subject 2 999", 1}, {"check_header_count_range Content-Type 2 999", 0},
		}},
		{"template", "X-Thing: %NAME_x\n\n", []call{{"check_unresolved_template", 1}}},
		{"percents in a subject", "Subject: %NAME_x\nX-Thing: 50% Off\n\n", []call{{"check_unresolved_template", 0}}},
		{"ratware", "Message-ID: <ABCDEFGHIJKLMNOPQRSTUVWXYZAB.joe@x.example>\nFrom: \"Joe\" <joe@x.example>\n\n", []call{{"check_ratware_name_id", 1}}},
		{"no ratware", "Message-ID: <ABCDEFGHIJKLMNOPQRSTUVWXYZAB.joe@x.example>\nFrom: Joe <joe@x.example>\n\n", []call{{"check_ratware_name_id", 0}}},
		{"recipient in the envelope", "Return-Path: <x-y.com-joe@z.com>\nTo: joe@y.com\n\n", []call{{"check_ratware_envelope_from", 1}}},
		{"SRS", "Return-Path: <SRS0=a-y.com-joe@z.com>\nTo: joe@y.com\n\n", []call{{"check_ratware_envelope_from", 0}}},
	} {
		calls(t, c.name, c.message, c.calls...)
	}
}

func TestShiftedDates(t *testing.T) {
	for _, c := range []struct {
		date  string
		hours int // that Received fields are behind
	}{
		{noon, 0},
		{"Mon, 2 Jan 2006 17:30:00 +0000", 5},
		{"Mon, 2 Jan 2006 12:00:00 -0700", 7},
		{"2 Jan 2006 12:00:00 PST", 8},
		{"Mon Jan  2 02:00:00 2006", -12}, // of this form only the day is read
		{"Sat, 7 Jan 06 12:00 UT", 120},
		{"garbage", 0},
	} {
		m := mailOf(t, received("a.example", "a.example", "192.0.2.1", "b.example", noon)+"Date: "+c.date+"\n\n")
		if got := m.dateShift() / 3600; got != int64(c.hours) {
			t.Errorf("%s: %d hours", c.date, got)
		}
	}
	late := received("a.example", "a.example", "192.0.2.1", "b.example", noon) + "Date: Mon, 2 Jan 2006 17:30:00 +0000\n\n"
	calls(t, "late", late, call{"check_for_shifted_date 3 6", 1}, call{"check_for_shifted_date 6 12", 0}, call{"check_for_shifted_date undef -96", 0})
}

func TestParseDate(t *testing.T) {
	for _, c := range []struct{ date, want string }{
		{"Mon, 02 Jan 2006 15:04:05 +0100", "2006-01-02T14:04:05Z"},
		{"2 Jan 2006 15:04", "2006-01-02T15:04:00Z"},
		{"Jan 2 15:04:05 2006", "2006-01-02T00:00:00Z"},
		{"2 Jan 49 1:02:03 EST", "2037-01-02T06:02:03Z"},
		{"2 Jan 99 10:00:00 (CET)", "1999-01-02T09:00:00Z"},
		{"2 Jan 103 10:00:00", "2003-01-02T10:00:00Z"},
		{"31 Feb 2006 99:99:99 +0000", "2006-03-01T23:59:59Z"},
		{"29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00Z"},
		{"29 Feb 2100 00:00:00 +0000", "2037-03-01T00:00:00Z"},
		{"1 Jan 1900 00:00:00 +0100", "1970-01-01T00:00:00Z"},
		{"0 Jan 2006 00:00:00", ""},
		{"tomorrow", ""},
	} {
		got := ""
		if s, ok := parseDate([]byte(c.date)); ok {
			got = time.Unix(s, 0).UTC().Format(time.RFC3339)
		}
		if got != c.want {
			t.Errorf("%s is %s, not %s", c.date, got, c.want)
		}
	}
}

func TestRelayFunctions(t *testing.T) {
	for _, c := range []struct {
		name, message string
		calls         []call
	}{
		{"private", received("a.example", "a.example", "10.0.0.1", "b.example", noon) + "\n", []call{{"check_all_trusted", 1}, {"check_relays_unparseable", 0}}},
		{"foreign", received("a.example", "a.example", "192.0.2.1", "b.example", noon) + "\n", []call{{"check_all_trusted", 0}, {"check_for_sender_no_reverse", 1}}},
		{"unreadable", "Received: from something strange here\n\n", []call{{"check_all_trusted", 0}, {"check_relays_unparseable", 1}, {"check_no_relays", 0}}},
		{"address as HELO", received("198.51.100.9", "unknown", "192.0.2.1", "b.example", noon) + "\n", []call{{"check_for_numeric_helo", 1}, {"helo_ip_mismatch", 1}}},
		{"its own address", received("192.0.2.2", "unknown", "192.0.2.1", "b.example", noon) + "\n", []call{{"check_for_numeric_helo", 1}, {"helo_ip_mismatch", 0}}},
		{"private address", received("10.0.0.9", "unknown", "192.0.2.1", "b.example", noon) + "\n", []call{{"check_for_numeric_helo", 0}, {"helo_ip_mismatch", 0}}},
		{"big name", received("mx1.hotmail.com", "unknown", "192.0.2.1", "b.example", noon) + "\n", []call{{"check_for_no_rdns_dotcom_helo", 1}}},
		{"big name with one", received("mx1.hotmail.com", "a.example", "192.0.2.1", "b.example", noon) + "\n", []call{{"check_for_no_rdns_dotcom_helo", 0}}},
		{
			"broken path", received("a.example", "a.one-site.com", "192.0.2.1", "mx.me-site.com", noon) + received("c.example", "c.two-site.com", "192.0.2.2", "x.three-site.com", noon) +
				received("d.example", "d.four-site.com", "192.0.2.3", "y.five-site.com", noon) + "\n",
			[]call{{"check_for_forged_received_trail", 1}},
		},
		{
			"whole path", received("a.example", "a.one-site.com", "192.0.2.1", "mx.me-site.com", noon) + received("c.example", "c.two-site.com", "192.0.2.2", "x.one-site.com", noon) + "\n",
			[]call{{"check_for_forged_received_trail", 0}, {"check_for_forged_received_ip_helo", 0}},
		},
		{"far address", received("198.51.100.9", "unknown", "192.0.2.1", "mx.me-site.com", noon) + "\n", []call{{"check_for_forged_received_ip_helo", 1}}},
		{"domain's way", received("a.big-site.com", "a.big-site.com", "192.0.2.1", "b.big-site.com", noon) + "From: x@big-site.com\n\n", []call{
			{"check_for_from_domain_in_received_headers big-site.com true", 1}, {"check_for_from_domain_in_received_headers big-site.com false", 0},
		}},
		{"not its way", received("a.example", "a.example", "192.0.2.1", "b.big-site.com", noon) + "From: x@big-site.com\n\n", []call{
			{"check_for_from_domain_in_received_headers big-site.com true", 0}, {"check_for_from_domain_in_received_headers big-site.com false", 1},
		}},
	} {
		calls(t, c.name, c.message, c.calls...)
	}
}
