package eval

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// posternMail makes a message of lines.
func posternMail(t testing.TB, message string) *Mail {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(message, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return &Mail{Text: text.Of(c, text.Options{})}
}

func posternSettings(t testing.TB) *Settings {
	t.Helper()
	s := &Settings{}
	for _, l := range [][2]string{
		{"postern_domains", "example.org"}, {"postern_protected", "bankhaus.example  paypal.com"}, {"postern_executive", "Jane Doe <jane@example.org>"},
	} {
		if known, err := s.Add(l[0], l[1], Position{}); !known || err != nil {
			t.Fatal(l, known, err)
		}
	}
	return s
}

func TestPosternFunctions(t *testing.T) {
	for _, c := range []struct {
		name, call, message string
		hits                bool
	}{
		{"replies go elsewhere", "postern_reply_to_differs", "From: a@b.example\nReply-To: c@d.example\n\n", true},
		{"replies go to a host of the same owner", "postern_reply_to_differs", "From: a@b.example\nReply-To: c@mail.b.example\n\n", false},
		{"returns go elsewhere", "postern_return_path_differs", "From: a@b.example\nReturn-Path: <c@d.example>\n\n", true},
		{"returns go nowhere", "postern_return_path_differs", "From: a@b.example\nReturn-Path: <>\n\n", false},
		{"a Message-ID of others", "postern_message_id_differs", "From: a@b.example\nMessage-ID: <1@c.example>\n\n", true},
		{"a Message-ID by way of what says that it is a list", "postern_message_id_differs", "From: a@b.example\nMessage-ID: <1@c.example>\nList-Id: <x>\nList-Post: <y>\n\n", true},
		{"from oneself", "postern_from_is_recipient", "From: A@b.example\nTo: a@B.example\n\n", true},
		{"from another", "postern_from_is_recipient", "From: a@b.example\nTo: c@b.example\n\n", false},
		{"the executive", "postern_executive_name", "From: Jane Doe <jane@example.org>\n\n", false},
		{"not the executive", "postern_executive_name", "From: \"DOE, Jane (CEO)\" <ceo@mail.example>\n\n", true},
		{"not the executive, in letters alike", "postern_executive_name", "From: =?utf-8?q?J=D0=B0ne_Doe?= <ceo@mail.example>\n\n", true},
		{"another Jane", "postern_executive_name", "From: Jane Doeson <jane@mail.example>\n\n", false},
		{"ours", "postern_lookalike domains sender", "From: a@mail.example.org\n\n", false},
		{"a digit for a letter", "postern_lookalike domains sender", "From: a@examp1e.org\n\n", true},
		{"another top level", "postern_lookalike domains sender", "From: a@example.biz\n\n", true},
		{"a word beside it", "postern_lookalike protected sender", "From: a@paypal-help.biz\n\n", true},
		{"two letters in the wrong order", "postern_lookalike protected sender", "From: a@bnakhaus.example\n\n", true},
		{"quite another", "postern_lookalike protected sender", "From: a@backhaus-dresden.example\n\n", false},
		{"looks like it in a link", "postern_lookalike all links", "From: a@b.example\n\nhttp://www.paypa1.com/x\n", true},
		{"our domain in a name", "postern_own_domain_in_name", "From: \"example.org help\" <a@b.example>\n\n", true},
		{"our domain in our name", "postern_own_domain_in_name", "From: \"example.org help\" <a@example.org>\n\n", false},
		{"a brand", "postern_brand name", "From: \"Pay Pal Support\" <a@b.example>\n\n", true},
		{"a brand's own", "postern_brand name", "From: PayPal <service@mail.paypal.com>\n\n", false},
		{"a brand's own in a country", "postern_brand name", "From: Amazon <a@amazon.de>\n\n", false},
		{"a brand's name in a free country", "postern_brand name", "From: Amazon <a@amazon.tk>\n\n", true},
		{"a word that is a brand, too", "postern_brand name", "From: Zoom Lens Club <a@b.example>\n\n", false},
		{"one of many savings banks", "postern_brand name", "From: Sparkasse Musterstadt <a@sparkasse-musterstadt.example>\n\n", false},
		{"a savings bank of no place", "postern_brand name", "From: Sparkasse <a@b.example>\n\n", true},
		{"a savings bank that names no place", "postern_brand name", "From: Sparkasse <a@spk-musterstadt.de>\n\n", false},
		{"a cooperative bank that names no place", "postern_brand name", "From: Volksbank <a@berliner-volksbank.de>\n\n", false},
		{"a bank of a canton", "postern_brand name", "From: Kantonalbank <a@zkb.ch>\n\n", false},
		{"may be one of a bank's houses", "postern_brand house", "From: Sparkasse <a@spk-musterstadt.de>\n\n", true},
		{"none of a bank's houses, by its domain", "postern_brand house", "From: Sparkasse <a@sparkasse-pushtan.de>\n\n", false},
		{"a domain that asks for numbers", "postern_brand name", "From: Sparkasse <a@sparkasse-pushtan.de>\n\n", true},
		{"a town whose name has a number's", "postern_brand name", "From: Sparkasse <a@sparkasse-konstanz.de>\n\n", false},
		{"begins as a bank's houses do, as anybody's may", "postern_brand name", "From: =?utf-8?q?Cr=C3=A9dit_Agricole_Centre-Est?= <a@ca-centrest.fr>\n\n", true},
		{"none of a bank's houses", "postern_brand name", "From: =?utf-8?q?Cr=C3=A9dit_Agricole_Centre-Est?= <a@ca-centrest.top>\n\n", true},
		{"ours at another top level", "postern_lookalike domains sender top", "From: a@example.biz\n\n", true},
		{"ours at another top level is no other name", "postern_lookalike domains sender other", "From: a@example.biz\n\n", false},
		{"ours at a cheap top level", "postern_lookalike domains sender other", "From: a@example.top\n\n", true},
		{"ours at a cheap top level is not ours", "postern_lookalike domains sender top", "From: a@example.top\n\n", false},
		{"a link to ours at another top level", "postern_lookalike domains links top", "From: a@b.example\n\nhttp://www.example.biz/x\n", true},
		{"a link to ours at a cheap top level", "postern_lookalike all links other", "From: a@b.example\n\nhttp://www.example.icu/x\n", true},
		{"another's at another top level", "postern_lookalike all links other", "From: a@b.example\n\nhttp://www.paypal.info/x\n", true},
		{"words spaced out", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("v e r i f y   n o w ", 5), true},
		{"words", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("I am a doctor, and you have a cold. ", 20), false},
		{"numbers", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("1 2 3 4 a 5 ", 40) + strings.Repeat("words ", 90), false},
		{"words of small letters and capitals", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("V e r i f y   N o w ! ", 5), true},
		{"answers", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("1 A B C D\n2 a b c d e\n3 C A D B\n", 10), false},
		{"marks", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("Ann: b a c a b b c a\nJohn: c c b a d a b e\n", 10), false},
		{"the alphabet", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("a b c d e f g h i j k l m n o p q r s t u v w x y z.\n", 5), false},
		{"initials", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("J D and M K, with T W R\n", 20), false},
		{"codes", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("k x 7 q p 2 r m 9 z t w 4\n", 10), false},
		{"formulas and keys", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("b x y z w a = x ( y z ) w a\nq w e r t y u i o p\na s d f g h j k l\nz x c v b n m\n", 10), false},
		{"headings", "postern_spaced_letters 0.4", "\n\nw i n t e r   n e w s l e t t e r\n\nHello John, here are the news of May: we have moved, and we open at ten.\n\nc o n t a c t   u s\n", false},
		{"letters to find words in", "postern_spaced_letters 0.4", "\n\n" + strings.Repeat("Q W A T E R I P\nM O U N T A I N\n", 10), false},
		{"a cheap sender", "postern_cheap_top sender", "From: Roe, Jane <a@b.TOP>\n\n", true},
		{"a sender that is not cheap", "postern_cheap_top sender", "From: a@top.example\nReply-To: a@b.top\n\n", false},
		{"cheap replies", "postern_cheap_top replies", "From: a@b.example\nReply-To: a@b.xyz\n\n", true},
		{"a cheap return path", "postern_cheap_top returns", "From: a@b.example\nReturn-Path: <a@b.icu>\n\n", true},
		{"a cheap link", "postern_cheap_top links", "From: a@b.example\n\nhttp://www.b.example/ http://www.example.club/x\n", true},
		{"a link that is not cheap", "postern_cheap_top links", "From: a@b.top\n\nhttp://www.example.com/x.top\n", false},
		{"a cheap client", "postern_cheap_top client", "Received: from x (mail.b.top [192.0.2.1]) by mx.example.net with ESMTP id 1; Mon, 3 May 2021 10:00:00 +0200\n\n", true},
		{"no client", "postern_cheap_top client", "From: a@b.top\n\n", false},
		{"a client that nobody knows", "postern_client_known", "Received: from x (mail.b.top [192.0.2.1]) by mx.example.net with ESMTP id 1; Mon, 3 May 2021 10:00:00 +0200\n\n", false},
		{"a comma in the sender's name", "postern_links_elsewhere", "From: Roe, Jane <a@b.example>\n\nhttp://www.example.com/\n", true},
		{"a person whose name is a brand's", "postern_brand name", "From: Anna Kohls <a@b.example>\n\n", false},
		{"a brand's server of images", "postern_brand links", "From: a@b.example\n\nhttps://lh3.googleusercontent.com/x https://www.paypalobjects.com/x\n", false},
		{"a river in a link", "postern_brand links", "From: a@b.example\n\nhttps://www.amazonas.example/x\n", false},
		{"a domain in the name", "postern_name_domain", "From: \"www.win.com\" <a@b.example>\n\n", true},
		{"the sender's domain in the name", "postern_name_domain", "From: \"Booking.com\" <a@booking.com>\n\n", false},
		{"dots in a name", "postern_name_domain", "From: \"M. Roe, Co.KG\" <a@b.example>\n\n", false},
		{"another's address in the name", "postern_name_domain", "From: \"help@bank.com\" <a@b.example>\n\n", true},
		{"another's address under the same public suffix", "postern_name_address", "From: \"ceo@bank.co.uk\" <x@evil.co.uk>\n\n", true},
		{"another's address without quotes", "postern_name_address", "From: ceo@bank.com <x@evil.com>\n\n", true},
		{"the sender's address in the name", "postern_name_address", "From: \"jane@bank.co.uk\" <jane@bank.co.uk>\n\n", false},
		{"an address of the sender's organisation", "postern_name_address", "From: \"jane@bank.co.uk\" <jane@mail.bank.co.uk>\n\n", false},
		{"a name without an address", "postern_name_address", "From: \"Jane @ Bank\" <jane@mail.bank.co.uk>\n\n", false},
		{"a form of the recipient's own site", "postern_from_recipient_org", "From: web@www.firm.example\nTo: info@firm.example\n\n", true},
		{"from elsewhere", "postern_from_recipient_org", "From: web@b.example\nTo: info@firm.example\n\n", false},
		{"all links to one host", "postern_links_one_host 2", "From: a@b.example\n\nhttp://www.example.com/1 http://www.example.com/2\n", true},
		{"all links to the sender", "postern_links_one_host 2", "From: a@example.com\n\nhttp://www.example.com/1 http://www.example.com/2\n", false},
		{"a click counted for the sender", "postern_link_text_differs own", "From: a@firm.com\nContent-Type: text/html\n\n<a href=\"http://www.example.com/\">www.firm.com</a>", true},
		{"that is not another's", "postern_link_text_differs others", "From: a@firm.com\nContent-Type: text/html\n\n<a href=\"http://www.example.com/\">www.firm.com</a>", false},
		{"apostrophes of windows-1252 in what is called Latin-1", "postern_invisible_characters 1", "Content-Type: text/plain; charset=utf-8\n\nIt\u0092s what we\u0092ve said \u0096 don\u0092t wait\u0085and l\u0092\u009cuvre\n", false},
		{"syllables of one letter", "postern_invisible_characters 1", "Content-Type: text/plain; charset=utf-8\n\ne\u00adlec\u00adtions, i\u00adde\u00adas, a\u00adca\u00adde\u00admy\n", false},
		{"consonants cut off by soft hyphens", "postern_invisible_characters 2", "Content-Type: text/plain; charset=utf-8\n\nP\u00adlease v\u00aderify\n", true},
		{"names of programs", "postern_invisible_characters 1", "Content-Type: text/plain; charset=utf-8\n\nget\u200bUser\u200bName and Google\u200bDrive\n", false},
		{"long words where they may be divided", "postern_invisible_characters 1", "Content-Type: text/plain; charset=utf-8\n\nRechts\u200bschutz\u200bversicherung, 06e2233a\u200bbcdefab7\u200bcdef0123\n", false},
		{"long words elsewhere", "postern_invisible_characters 2", "Content-Type: text/plain; charset=utf-8\n\nver\u200bification\u200bdepartments\n", true},
		{"one place with many signs", "postern_invisible_characters 2", "Content-Type: text/plain; charset=utf-8\n\nthe news of May" + strings.Repeat("\u200c", 50) + "Hello\n", false},
		{"between digits", "postern_invisible_characters 1", "Content-Type: text/plain; charset=utf-8\n\n1\u200b2 a1\u200bb\n", false},
		{"controls that are no sign of any charset", "postern_invisible_characters 2", "Content-Type: text/plain; charset=utf-8\n\npa\u0081yp\u009dal\n", true},
		{"soft hyphens where a word may be divided", "postern_invisible_characters 1", "Content-Type: text/plain; charset=utf-8\n\nDonau\u00addampf\u00adschiff\n", false},
		{"soft hyphens between letters", "postern_invisible_characters 3", "Content-Type: text/plain; charset=utf-8\n\np\u00ada\u00ady\u00adpal\n", true},
		{"words without blanks", "postern_words_below 10", "Content-Type: text/plain; charset=utf-8\n\n" + strings.Repeat("会议改到明天下午三点", 3) + "\n", false},
		{"few words without blanks", "postern_words_below 10", "Content-Type: text/plain; charset=utf-8\n\n会议改到明天下午三点\n", true},
		{"long words", "postern_random_words 0.05", "\n\n" + strings.Repeat("Im Durchschnitt braucht der Rechtsschutz in Deutschland Angstschweiss. ", 5), false},
		{"random words", "postern_random_words 0.05", "\n\n" + strings.Repeat("and the qwrtzpkl of that word is ab1cd2ef in the end ", 5), true},
		{"a program by the name of the disposition", `postern_file_name \.exe$`, "Content-Type: application/pdf\nContent-Disposition: attachment; filename=\"a.exe\"\n\nx", true},
		{"a program by continuations", `postern_file_name \.exe$`, "Content-Type: application/pdf\nContent-Disposition: attachment; filename*0*=utf-8''a%2E; filename*1=\"exe\"\n\nx", true},
		{"a program in an encoded word", `postern_file_name \.exe$`, "Content-Type: application/pdf; name=\"=?utf-8?b?YS5FWEU=?=\"\n\nx", true},
		{"a blank behind the ending", `postern_file_name \.exe$`, "Content-Type: application/pdf; name=\"a.exe . \"\n\nx", true},
		{"a document of that name", `postern_file_name \.com$`, "Content-Type: application/pdf; name=\"Booking.com Confirmation.pdf\"\n\nx", false},
		{"a page that is attached", `postern_file_name \.html?$ attached`, "Content-Type: text/html; name=\"a.html\"\nContent-Disposition: attachment\n\nx", true},
		{"the text itself", `postern_file_name \.html?$ attached`, "Content-Type: text/html; name=\"a.html\"\nContent-Disposition: inline\n\nx", false},
		{"about a brand", "postern_brand subject", "From: a@b.example\nSubject: Your Netflix account\n\n", true},
		{"about a brand on what says that it is a list", "postern_brand subject", "From: a@b.example\nSubject: Your Netflix account\nList-Id: <x>\nList-Post: <y>\n\n", true},
		{"a brand in a link", "postern_brand links", "From: a@b.example\n\nhttp://paypal.example.net/x\n", true},
		{"a brand's image", "postern_brand links", "From: a@b.example\nContent-Type: text/html\n\n<img src=\"http://paypal.example.net/x.png\">", false},
		{"a form for a brand", "postern_brand links", "From: a@b.example\nContent-Type: text/html\n\n<form action=\"http://paypal.example.net/x\">", true},
		{"a brand's link", "postern_brand links", "From: a@b.example\n\nhttp://www.paypal.com/x\n", false},
		{"mixed alphabets", "postern_homograph text", "Content-Type: text/plain; charset=utf-8\n\nYоur аccount hаs gone\n", true},
		{"abbreviations that are declined", "postern_homograph text", "Content-Type: text/plain; charset=utf-8\n\nОтправляю PDFки, SMSки и VIPам письма emailом\n", false},
		{"English words that end in another alphabet", "postern_homograph text", "Content-Type: text/plain; charset=utf-8\n\nSincе thе cardѕ expired\n", true},
		{"words that begin in another", "postern_homograph text", "Content-Type: text/plain; charset=utf-8\n\nВаш аccount и сard, еmail\n", true},
		{"an alphabet for each word", "postern_homograph text", "Content-Type: text/plain; charset=utf-8\n\nWindows и Linux и macOS\n", false},
		{"invisible signs", "postern_invisible_characters 2", "Content-Type: text/plain; charset=utf-8\n\npa\u200byp\u200bal\n", true},
		{"invisible signs between words", "postern_invisible_characters 1", "Content-Type: text/plain; charset=utf-8\n\npay \u200b pal\n", false},
		{"all in capitals", "postern_capitals 0.5 10", "\n\nSEND IT NOW AND TODAY\n", true},
		{"abbreviations in Russian", "postern_capitals 0.5 10", "Content-Type: text/plain; charset=utf-8\n\nОтправляю вам файлы в форматах PDF, HTML, CSV и JSON\n", false},
		{"all in capitals of Russian, too", "postern_capitals 0.5 10", "Content-Type: text/plain; charset=utf-8\n\nОТПРАВЛЯЮ ФАЙЛЫ PDF, HTML, CSV\n", true},
		{"a few letters in capitals", "postern_capitals 0.5 10", "\n\nNASA\n", false},
		{"needless base64", "postern_needless_encoding Subject", "Subject: =?utf-8?b?SGVsbG8=?=\n\n", true},
		{"needed base64", "postern_needless_encoding Subject", "Subject: =?utf-8?b?w6Q=?=\n\n", false},
		{"a reply to nothing", "postern_fake_reply", "Subject: Re: x\n\n", true},
		{"a reply", "postern_fake_reply", "Subject: Re: x\nReferences: <1@a.example>\n\n", false},
		{"the recipient in the text", "postern_recipient_in_text", "To: <joe@b.example>\n\nDear JOE@b.example,\n", true},
		{"links elsewhere", "postern_links_elsewhere", "From: a@example.org\n\nhttp://www.example.com/\n", true},
		{"links home", "postern_links_elsewhere", "From: a@example.org\n\nhttp://www.example.com/ http://www.example.org/\n", false},
		{"another host than is shown", "postern_link_text_differs", "Content-Type: text/html\n\n<a href=\"http://www.example.com/\">http://www.example.net/</a>", true},
		{"another host of the same owner", "postern_link_text_differs", "Content-Type: text/html\n\n<a href=\"http://www.example.com/\">example.com</a>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			words := strings.Fields(c.call)
			check, err := Functions()[words[0]].Compile(posternSettings(t), words[1:])
			if err != nil {
				t.Fatal(err)
			}
			if n, detail := check(posternMail(t, c.message)); n > 0 != c.hits {
				t.Errorf("%d %q", n, detail)
			}
		})
	}
}

func TestPosternArguments(t *testing.T) {
	for _, call := range []string{"postern_brand", "postern_brand colour", "postern_lookalike domains", "postern_lookalike x sender", "postern_homograph", "postern_needless_encoding", "postern_capitals x", "postern_file_name", "postern_file_name (", "postern_file_name a b", "postern_link_text_differs x"} {
		words := strings.Fields(call)
		if _, err := Functions()[words[0]].Compile(&Settings{}, words[1:]); err == nil {
			t.Errorf("%s is taken", call)
		}
	}
}

// FuzzPostern: no message makes a function of ours panic.
func FuzzPostern(f *testing.F) {
	f.Add("From: \"PayPal\" <a@b.example>\nReply-To: c@d\nTo: x@y\nSubject: =?utf-8?b?w6Q=?=\n\nhttp://www.paypa1.com/ pa\u200byp\u200bal \xff\xfeа")
	f.Add("From: \xd0a\nSubject: Re: \xd1\n\n\xe2\x80")
	s := posternSettings(f)
	var checks []Check
	for name, args := range map[string][]string{
		"postern_brand": {"text"}, "postern_lookalike": {"all", "links"}, "postern_homograph": {"text"}, "postern_executive_name": nil, "postern_invisible_characters": {"1"},
		"postern_random_words": {"0.1"}, "postern_own_domain_in_name": nil, "postern_link_text_differs": nil, "postern_name_domain": nil, "postern_name_address": nil, "postern_file_name": {"."}, "postern_links_one_host": {"1"}, "postern_words_below": {"1"}, "postern_recipient_name_in_subject": nil,
	} {
		c, err := Functions()[name].Compile(s, args)
		if err != nil {
			f.Fatal(err)
		}
		checks = append(checks, c)
	}
	f.Fuzz(func(t *testing.T, message string) {
		m := posternMail(t, message)
		for _, c := range checks {
			c(m)
		}
	})
}
