package text

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

func unmasked(t *testing.T, message string) (string, bool) {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(message, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	all, more := Of(c, Options{}).Unmasked()
	var b strings.Builder
	for _, p := range all[1:] {
		b.Write(p)
	}
	return strings.TrimSpace(b.String()), more
}

const (
	plainHead = "Subject: x\nContent-Type: text/plain; charset=utf-8\n\n"
	htmlHead  = "Subject: x\nContent-Type: text/html; charset=utf-8\n\n"
)

// spread puts a sign into each word of a text.
func spread(s, sign string) string {
	words := strings.Fields(s)
	for i, w := range words {
		words[i] = w[:2] + sign + w[2:]
	}
	return strings.Join(words, " ")
}

func mapped(s string, f func(rune) rune) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' {
			return r
		}
		return f(r)
	}, s)
}

// TestUnmasked: words are found however they are written.
func TestUnmasked(t *testing.T) {
	const words = "please verify your account within hours because access was limited"
	for name, text := range map[string]string{
		"a sign without width":      plainHead + spread(words, "\u200b"),
		"soft hyphens":              plainHead + spread(words, "\u00ad"),
		"variation selectors":       plainHead + spread(words, "\ufe0f"),
		"tags":                      plainHead + spread(words, "\U000e0041"),
		"fillers":                   plainHead + spread(words, "\u3164"),
		"directions":                plainHead + spread(words, "\u2066\u2069"),
		"controls":                  plainHead + spread(words, "\x01"),
		"controls of Latin-1":       plainHead + spread(words, "\u0092"),
		"a mark that no letter has": plainHead + spread(words, "\u035f"),
		"references":                htmlHead + "<p>" + spread(words, "&#8203;") + "</p>",
		"a blank that is none":      plainHead + strings.ReplaceAll(words, " ", "\u2800"),
		"full width":                plainHead + mapped(words, func(r rune) rune { return r + 0xfee0 }),
		"as in mathematics":         plainHead + mapped(words, func(r rune) rune { return r - 'a' + 0x1d41a }),
		"in circles":                plainHead + mapped(words, func(r rune) rune { return r - 'a' + 0x24d0 }),
		"Cyrillic":                  plainHead + strings.NewReplacer("a", "а", "e", "е", "o", "о", "c", "с").Replace(words),
		"small capitals":            plainHead + strings.NewReplacer("a", "ᴀ", "e", "ᴇ", "o", "ᴏ", "t", "ᴛ", "u", "ᴜ").Replace(words),
		"accents":                   plainHead + strings.NewReplacer("a", "à", "e", "é", "o", "ọ", "u", "ü", "i", "ï").Replace(words+" "+words+" "+words),
		"what is not displayed":     htmlHead + "<p>" + spread(words, "<i style=\"display:none\">q</i>") + "</p>",
		"what has no size":          htmlHead + "<p>" + spread(words, "<font style=\"font-size:0\">q</font>") + "</p>",
		"boxes within the line":     htmlHead + "<p>" + spread(words, "<div style=\"display:inline\">") + "</p>",
		"floating boxes":            htmlHead + "<div>" + spread(words, "<div style=\"float:left\">") + "</div>",
	} {
		t.Run(name, func(t *testing.T) {
			got, more := unmasked(t, text+"\n")
			if want := words; !more || !strings.HasPrefix(strings.Join(strings.Fields(got), " "), want) {
				t.Errorf("%q, %v", got, more)
			}
		})
	}
	// A row of pieces in boxes, as of letters one by one.
	pieces := ""
	for w := range strings.FieldsSeq(words) {
		pieces += "<div style=\"display:inline-block\">" + w[:2] + "</div><div style=\"display:inline-block\">" + w[2:] + "</div> "
	}
	if got, more := unmasked(t, htmlHead+pieces); !more || !strings.Contains(got, "verify your account") {
		t.Errorf("%q, %v", got, more)
	}
}

// TestNothingMasked: texts of honest writers are not looked at once more, or not changed.
func TestNothingMasked(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		more bool
	}{
		"English":    {plainHead + "It’s the “first” day — and we’re off…", false},
		"German":     {plainHead + "Übermäßig schöne Grüße aus Österreich, wo die Bäume blühen.", false},
		"French":     {plainHead + "L’été dernier, nous étions très fatigués à cause de la chaleur, déjà évoquée.", false},
		"decomposed": {plainHead + "L’e\u0301te\u0301 dernier, nous e\u0301tions fatigue\u0301s.", false},
		"Russian":    {plainHead + "Завтра мы едем в Москву, а потом на e-mail ответим и Windows обновим.", false},
		"Greek":      {plainHead + "Ο λογαριασμός ύδρευσης μέσω e-banking είναι έτοιμος.", false},
		"Japanese":   {plainHead + "最大30％ＯＦＦ、ポイント10倍！", false},
		"emoji":      {plainHead + "Well done \u2764\ufe0f \U0001f468\u200d\U0001f469\u200d\U0001f467 and \u263a\ufe0f too", false},
		"syllables":  {plainHead + "Donau\u00addampf ge\u00adht", false},
		"columns":    {htmlHead + `<div style="display:inline-block">The first column of it</div><div style="display:inline-block">and the second one here</div>`, false},
		"a preview":  {htmlHead + `<body><div style="display:none">Hello there &zwnj;&#847; &zwnj;&#847; &zwnj;&#847;</div><p>The text</p></body>`, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, more := unmasked(t, c.text+"\n")
			if more != c.more {
				t.Errorf("looked at once more: %q", got)
			}
			if !utf8.ValidString(got) {
				t.Errorf("%q", got)
			}
		})
	}
	if got, _ := unmasked(t, htmlHead+`<div style="display:inline-block">The first column</div><div style="display:inline-block">and the second</div>`); strings.Contains(got, "columnand") {
		t.Errorf("columns: %q", got)
	}
}

// TestDamaged: a few octets that are none do not make another charset of UTF-8.
func TestDamaged(t *testing.T) {
	const text = "Grüße, schöne Bäume, Äpfel, Öl und Übermut \xa9 2005"
	for _, head := range []string{plainHead, htmlHead} {
		if got, more := unmasked(t, head+text+"\n"); !more || !strings.Contains(got, "Grüße, schöne Bäume") {
			t.Errorf("%q, %v", got, more)
		}
		if got, _ := unmasked(t, head+"Gr\xfc\xdfe aus K\xf6ln\n"); !strings.Contains(got, "Grüße aus Köln") {
			t.Errorf("%q", got)
		}
	}
}

func TestPlain(t *testing.T) {
	for name, want := range map[string]string{
		"PayPal": "PayPal", "P\u200ba\u00ady\u2060Pal": "PayPal", "PаyPаl": "PayPal", "PạyPạl": "PayPal", "ＰａｙＰａｌ": "PayPal", "𝐏𝐚𝐲𝐏𝐚𝐥": "PayPal",
		"Müller": "Muller", "Иван": "Иван", "山田": "山田", "\xff": "\xff",
	} {
		if got := Plain(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}
