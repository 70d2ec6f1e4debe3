package eval

import (
	"strings"
	"testing"
)

const multipartHead = "From: a@client.test\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"=_x y\"\n\n"

func TestMIME(t *testing.T) {
	calls(t, "plain", "Subject: a\n\nb\n",
		call{"check_for_mime mime_body_text_count", 1}, call{"check_for_mime mime_body_html_count", 0}, call{"check_for_mime_html", 0},
		call{"check_for_mime_html_only", 0}, call{"check_for_mime mime_multipart_ratio", 1}, call{"check_for_mime mime_qp_count", 0},
		call{"check_for_ascii_text_illegal", 0}, call{"check_msg_parse_flags missing_head_body_separator", 0}, call{"check_ma_non_text", 0},
		call{"check_body_length 2", 1}, call{"check_body_length 1", 0})
	calls(t, "HTML by its type", "Content-Type: TEXT/html; charset=\"utf-8\"\n\nb\n", call{"check_for_mime_html", 1}, call{"check_for_mime_html_only", 1})
	calls(t, "alternatives", multipartHead+"--=_x y\nContent-Type: text/plain\n\n12345678\n\n--=_x y\nContent-Type: text/html\n\n"+
		strings.Repeat("<p>", 100)+"\n--=_x y--\n",
		call{"check_for_mime mime_multipart_alternative", 1}, call{"check_for_mime_html", 1}, call{"check_for_mime_html_only", 0},
		call{"check_mime_multipart_ratio 0.029 0.031", 1}, call{"check_mime_multipart_ratio 0.031 1", 0}, call{"check_for_mime mime_missing_boundary", 0})
	calls(t, "attached text", multipartHead+"--=_x y\nContent-Type: text/plain\nContent-Disposition: ATTACHMENT; filename=a.txt\n\nabc\n"+
		"--=_x y\nContent-Type: application/pdf\nContent-Transfer-Encoding: BASE64\n\nAAAA\n--=_x y--\n",
		call{"check_for_mime mime_attachment", 1}, call{"check_for_mime mime_base64_count", 1}, call{"check_for_mime mime_base64_encoded_text", 0},
		call{"check_ma_non_text", 1}, call{"check_base64_length 4 4", 1}, call{"check_base64_length 5", 0})
	calls(t, "text in base64", "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"+strings.Repeat("QUJD", 20)+"\n",
		call{"check_for_mime mime_base64_encoded_text", 1}, call{"check_base64_length 79", 1}, call{"check_base64_length 81 81", 1})
	calls(t, "quoted-printable", "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=41=42=C3=A9=20=20\n"+strings.Repeat("x", 79)+"\n",
		call{"check_for_mime mime_qp_count", 1}, call{"check_for_mime mime_qp_long_line", 1}, call{"check_qp_ratio 0.02", 1}, call{"check_qp_ratio 0.021", 0})
	calls(t, "blanks at the end only", "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nx =20=09\n",
		call{"check_for_mime mime_qp_count", 0}, call{"check_for_mime mime_qp_long_line", 0})
	calls(t, "eight bits in ASCII", "Content-Type: text/plain; charset=us-ascii\n\ncaf\xe9\n", call{"check_for_ascii_text_illegal", 1})
	calls(t, "eight bits elsewhere", "Content-Type: text/plain; charset=utf-8\n\ncaf\xe9\n", call{"check_for_ascii_text_illegal", 0})
	calls(t, "references", "Content-Type: text/plain\n\n&#x00E9;12345678\n", call{"check_abundant_unicode_ratio 0.1", 1}, call{"check_abundant_unicode_ratio 0.2", 0})
	calls(t, "no reference", "Content-Type: text/plain\n\n&#xe9; &#x0G12; &#x\n", call{"check_for_mime mime_text_unicode_ratio", 0})
	calls(t, "an odd charset", "Content-Type: text/plain; charset=iso-foo-1\n\na\n", call{"check_for_mime mime_bad_iso_charset", 1})
	calls(t, "a good charset", "Content-Type: text/plain; charset=iso-8859-15\n\na\n", call{"check_for_mime mime_bad_iso_charset", 0})
}

func TestParseFlags(t *testing.T) {
	part := "--=_x y\nContent-Type: text/plain\n\na\n"
	calls(t, "in order", multipartHead+part+"--=_x y--\n \n.\n", call{"check_msg_parse_flags mime_epilogue_exists", 0},
		call{"check_msg_parse_flags missing_mime_headers", 0}, call{"check_msg_parse_flags missing_mime_head_body_separator", 0},
		call{"check_for_mime mime_missing_boundary", 0})
	calls(t, "text behind the end", multipartHead+part+"--=_x y--\nb\n", call{"check_msg_parse_flags mime_epilogue_exists", 1})
	calls(t, "no field", multipartHead+"--=_x y\n\na\n--=_x y--\n", call{"check_msg_parse_flags missing_mime_headers", 1})
	calls(t, "no blank line", multipartHead+"--=_x y\nContent-Type: text/plain\nno field here\n--=_x y--\n",
		call{"check_msg_parse_flags missing_mime_head_body_separator", 1})
	calls(t, "no end", multipartHead+part, call{"check_for_mime mime_missing_boundary", 1})
	calls(t, "no delimiter line", multipartHead+"a\n", call{"check_for_mime mime_missing_boundary", 0})
	calls(t, "no body", "Subject: a\nFrom: b@c.test\n", call{"check_msg_parse_flags missing_head_body_separator", 1})
	calls(t, "a delimiter in the header", "Subject: a\n--x\n\nb\n", call{"check_msg_parse_flags missing_head_body_separator", 1})
	calls(t, "many lines that are no field", "Subject: a\nb\nc\nd\ne\n\nf\n", call{"check_msg_parse_flags missing_head_body_separator", 1})
	calls(t, "some lines that are no field", "Subject: a\nb\nc\nd\n\nf\n", call{"check_msg_parse_flags missing_head_body_separator", 0})
	calls(t, "a long field", "Subject: "+strings.Repeat("a", 9000)+"\n\nb\n", call{"check_msg_parse_flags truncated_header", 1})
}

func TestUppercase(t *testing.T) {
	half := strings.Repeat("ABCDE abcde\n\n", 20)
	calls(t, "half", "Subject: a\n\n"+half, call{"check_for_uppercase 49 50", 1}, call{"check_for_uppercase 50 75", 0})
	calls(t, "short", "Subject: a\n\nABC ABC\n", call{"check_for_uppercase 0 100", 0})
	calls(t, "single words", "Subject: a\n\n"+strings.Repeat("ABCDEFG\n\n", 50), call{"check_for_uppercase 0 100", 0})
	calls(t, "another script", "Subject: a\nContent-Type: text/plain; charset=\"koi8-r\"\n\n"+half, call{"check_for_uppercase 0 100", 0})
}

func TestStructure(t *testing.T) {
	for _, c := range []struct{ name, message, want string }{
		{"plain", "A: b\n\nc\n", "text/plain[c\n]"},
		{"a mailbox's line", "From x\nA: b\n\nc\n", "text/plain[c\n]"},
		{"the last type counts", "Content-Type: text/html\nContent-type: image/png\n\nc\n", "image/png[c\n]"},
		{"an odd text", "Content-Type: text/foo\n\nc\n", "text/plain[c\n]"},
		{"a type without a half", "Content-Type: foo; a=b\n\nc\n", "foo[c\n]"},
		{"odd octets", "Content-Type: im(age/\"png\"\n\nc\n", "image/png[c\n]"},
		{
			"nested", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/related; boundary=b\n\n--b\n\nc\n--b--\n--a\nContent-Type: image/gif\n\nd\n\n--a--\n",
			"multipart/mixed(multipart/related(text/plain[c]) image/gif[d\n])",
		},
		{"digest", "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: b\n\nc\n--a--\n", "multipart/digest(message/rfc822(text/plain[c]))"},
		{"a message in base64", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQTogYgoKYwo=\n", "message/rfc822(text/plain[c\n])"},
		{"a report", "Content-Type: message/delivery-status\n\nA: b\n", "message/delivery-status[A: b\n]"},
		{"no delimiter line", "Content-Type: multipart/mixed; boundary=a\n\nc\n", "multipart/mixed(text/plain[c\n])"},
		{"no boundary", "Content-Type: multipart/mixed\n\nc\n", "text/plain[c\n]"},
		{
			"the boundary again", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\nA: b\n\nc\n--a--\n--a--\n",
			"multipart/mixed(multipart/mixed(text/plain[c]))",
		},
		{"empty part", "Content-Type: multipart/mixed; boundary=a\n\n--a\n--a\nA: b\n\nc\n--a--\n", "multipart/mixed(text/plain[] text/plain[c])"},
	} {
		s := readStructure([]byte(c.message))
		if got := outline(s.root); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func outline(n *node) string {
	if n.leaf() {
		return n.kind + "[" + string(n.body) + "]"
	}
	var all []string
	for _, c := range n.children {
		all = append(all, outline(c))
	}
	return n.kind + "(" + strings.Join(all, " ") + ")"
}

func FuzzStructure(f *testing.F) {
	f.Add([]byte(multipartHead + "--=_x y\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n--b\n--b--\n--=_x y--\n"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n--a--\n"))
	f.Add([]byte("Content-Type: text/plain; name*0=a; name*1=b; charset='x\nContent-Transfer-Encoding: base64\n\nQQ==\n"))
	f.Add([]byte("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\nA: b=0A=0Ac=\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := readStructure(b)
		octets, parts := 0, 0
		for n := range s.root.all() {
			parts++
			for line, size := range n.lines() {
				if len(line) == 0 || len(line) > maxLineOctets || size > maxLineOctets+1 {
					t.Fatalf("a line of %d, %d octets", len(line), size)
				}
			}
			octets += len(n.body)
		}
		if octets > len(b) || parts > len(b)+2 {
			t.Fatalf("%d parts of %d octets from %d", parts, octets, len(b))
		}
		f := &mimeFacts{}
		for n := range s.root.all() {
			f.part(n)
		}
		f.finish(s)
	})
}
