package eval

import (
	"strings"
	"testing"
)

func TestPosternView(t *testing.T) {
	html := func(s string) string { return "From: a@b.example\nContent-Type: text/html; charset=utf-8\n\n" + s }
	const shown = "What is shown of this message is longer than what stands before a preview in a newsletter as people write them, by far."
	hide := func(s string) string { return `<div style="display:none">` + s + "</div>" }
	unlike := strings.Repeat("five letters ", 25)
	for _, c := range []struct {
		name, call, message string
		hits                bool
	}{
		{"hidden text", "postern_hidden_words 20", html("seen<div style=\"display:none\">" + strings.Repeat("five letters ", 30) + "</div>"), true},
		{"a preview", "postern_hidden_words 1", html("seen<div style=\"display:none\">five letters</div>"), false},
		{"the text once more, for another width", "postern_hidden_words 2", html(strings.Repeat("five letters ", 30) + "<div style=\"display:none\">" + strings.Repeat("five letters ", 30) + "</div>"), false},
		{"words behind what is shown", "postern_hidden_words 40", html(shown + hide(unlike)), true},
		{"as many before it", "postern_hidden_words 40", html(hide(unlike) + shown), false},
		{"as many behind where the page is to be seen", "postern_hidden_words 40", html("View this message on the web" + hide(unlike) + shown), false},
		{"as many before it, and as many in a comment for Outlook", "postern_hidden_words 60", html(hide(unlike) + shown + "<!--[if mso]>" + hide(unlike) + "<![endif]-->"), true},
		{"Chinese", "postern_hidden_words 40", html(hide(strings.Repeat("一二三四五六", 100)) + shown), true},
		{"Chinese, sign by sign", "postern_hidden_words 40", html(hide(strings.Repeat("一、二，", 300)) + shown), true},
		{"a preview in Chinese", "postern_hidden_words 1", html(hide(strings.Repeat("一二三四五六", 10)) + shown), false},
		{"the text once more, in Chinese", "postern_hidden_words 1", html("<p>" + strings.Repeat("一二三四五六七", 20) + "</p>" + hide(strings.Repeat("一二三四五六七", 20))), false},
		{"filled up with what is none", "postern_hidden_words 2", html(`seen<div style="display:none">four ` + strings.Repeat("&zwnj;&nbsp;", 100) + `</div>`), false},
		{"a container of MJML", "postern_hidden_words 1", html(`<div style="font-size:0"><p style="font-size:13px">` + strings.Repeat("seen ", 60) + `</p></div>`), false},
		{"most is hidden", "postern_hidden_share 0.5 5", html(`seen<p style="color:#fff">hidden</p>`), true},
		{"little is hidden", "postern_hidden_share 0.9 5", html(`seen<p style="color:#fff">hidden</p>`), false},
		{"letters backwards", "postern_turned_letters 6", html(`<bdo dir="rtl">tnuocca ruoy</bdo>`), true},
		{"in references", "postern_turned_letters 6", html(`<BDO dir=RTL>&#116;nuo<b>cca</b></bdo>`), true},
		{"by a style", "postern_turned_letters 6", html(`<p style="direction: rtl; unicode-bidi: bidi-override">tnuocca`), true},
		{"by a style sheet", "postern_turned_letters 6", html(`<style>.t{unicode-bidi:isolate-override;direction:rtl}</style><span class="t">tnuocca</span>`), true},
		{"by two elements", "postern_turned_letters 6", html(`<div dir="rtl"><span style="unicode-bidi:bidi-override">tnuocca</span></div>`), true},
		{"a direction that says nothing", "postern_turned_letters 6", html(`<bdo dir="rtl"><span style="direction:ltr">tnuocca</span></bdo>`), true},
		{"in a comment for Outlook", "postern_turned_letters 6", html(`<!--[if mso]><bdo dir="rtl">tnuocca</bdo><![endif]-->`), true},
		{"forwards again", "postern_turned_letters 1", html(`<bdo dir="rtl"><span dir="ltr">account</span></bdo>`), false},
		{"behind it", "postern_turned_letters 1", html(`<bdo dir="rtl"></bdo>account`), false},
		{"from left to right", "postern_turned_letters 1", html(`<bdo dir="ltr">account</bdo><i style="unicode-bidi:bidi-override">account</i>`), false},
		{"a page in Hebrew", "postern_turned_letters 1", html(`<html dir="rtl"><body style="direction:rtl; unicode-bidi:embed"><p>account</p>`), false},
		{"Hebrew that is turned", "postern_turned_letters 1", html(`<bdo dir="rtl">שלום לכולם, הפגישה ב-WhatsApp ביום שני</bdo>`), false},
		{"Arabic in references", "postern_turned_letters 1", html(`<bdo dir="rtl">&#1605;&#x631;&nbsp;&#1581;</bdo>`), false},
		{"backwards and hidden", "postern_turned_letters 1", html(`<bdo dir="rtl" style="display:none">tnuocca</bdo>`), false},
		{"no link", "postern_link_trait odd_slashes", html(`a`), false},
		{"a plain link", "postern_link_trait odd_slashes broken_scheme escaped_host folded_host unread", html(`<a href="http://c.example.com/d">e</a>`), false},
		{"a plain link in a template for Outlook", "postern_link_trait unread", html(`<!--[if mso]><a href="http://c.example.com/d">e</a><![endif]-->`), false},
		{"odd slashes", "postern_link_trait broken_scheme odd_slashes", html(`<a href="http:\\c.example.com/d">e</a>`), true},
		{"a link for browsers alone", "postern_link_trait unread", html(`<a/href="http://c.example.com/d">e</a>`), true},
		{"words behind a section", "postern_words_below 2", html(`<![CDATA[>one two three`), false},
		{"a look-alike in a button of Outlook's", "postern_lookalike protected links", html(`<!--[if mso]><v:roundrect href="http://www.paypa1.com/x">e</v:roundrect><![endif]-->`), true},
		{"a look-alike in a frame", "postern_lookalike protected links", html(`<iframe src="http://www.paypa1.com/x"></iframe>`), true},
		{"a picture of a look-alike's", "postern_lookalike protected links", html(`<img src="http://www.paypa1.com/x.png">`), false},
		{"a button beside Outlook's", "postern_link_trait unread", html(`<v:roundrect href="http://c.example.com/d">e</v:roundrect>`), true},
		{"a look-alike for browsers alone", "postern_lookalike protected links", html(`<!--><a/href="http://www.paypa1.com/x">e</a>`), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := strings.Fields(c.call)
			check, err := Functions()[args[0]].Compile(posternSettings(t), args[1:])
			if err != nil {
				t.Fatal(err)
			}
			if n, detail := check(posternMail(t, c.message)); n > 0 != c.hits {
				t.Errorf("%d %q", n, detail)
			}
		})
	}
	if _, err := Functions()["postern_link_trait"].Compile(posternSettings(t), []string{"nonsense"}); err == nil || !strings.Contains(err.Error(), "odd_slashes") {
		t.Errorf("a word that is none: %v", err)
	}
}
