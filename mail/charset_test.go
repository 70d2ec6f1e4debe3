package mail

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestCharsetsOfNames(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	tests := []struct {
		header  string
		name    string // first
		also    string // among the names
		unclear bool
	}{
		{"Content-Disposition: attachment; filename==?utf-8?q?a=2Ejs?=", "a.js", "", false},
		{`Content-Disposition: attachment; filename="=?utf-7?Q?a+AC4-js?="`, "a.js", "a+AC4-js", true},
		{`Content-Disposition: attachment; filename="=?cp037?B?` + b64([]byte("\x81\x4b\x91\xa2")) + `?="`, "a.js", "", true},
		{`Content-Disposition: attachment; filename*=utf-7''a%2BAC4-js`, "a.js", "a+AC4-js", true},
		{`Content-Disposition: attachment; filename*0*=cp500''%81%4b; filename*1*=%91%a2`, "a.js", "", true},
		{`Content-Disposition: attachment; filename*=x-what''a.js`, "a.js", "", true},
		{`Content-Disposition: attachment; filename*=''a%2ejs`, "a.js", "", false},
		{`Content-Disposition: attachment; filename*=a%2ejs`, "a.js", "", false},
		{`Content-Disposition: attachment; filename*=utf-16''%00a%00.%00j%00s`, "a.js", "", true},
		{`Content-Disposition: attachment; filename*=utf-16''a%00.%00j%00s%00`, "愀⸀樀猀", "a.js", true},
		{`Content-Disposition: attachment; filename*=utf-16''ab.j`, "慢⹪", "ab.j", true},
		{`Content-Disposition: attachment; filename="=??Q?a=2Ejs?="`, "a.js", "", true},
		{`Content-Disposition: attachment; filename="=?x-what?Q?a=2Ejs?="`, "a.js", "", true},
		{`Content-Disposition: attachment; filename="=?iso-2022-jp?B?GyRCJUYlOSVIGyhCLmpz?="`, "テスト.js", "", false},
		{`Content-Disposition: attachment; filename*=iso-2022-jp''%1b$B%25F%259%25H%1b(B.js`, "テスト.js", "", false},
		{`Content-Disposition: attachment; filename="=?euc-kr?B?x9GxuS5kb2M=?="`, "한국.doc", "", false},
		{`Content-Type: a/b; name="=?hz-gb-2312?Q?a.~=0Ajs?="`, "a.js", "", true},
		{`Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbA==LmpzCg==?="`, "evil\ufffd", "evil.js", false},
		{`Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbC5qcw==LnR4dA==?="`, "evil.js\ufffd", "evil.js", false},
		{`Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbC5qcw===?="`, "evil.js", "", false},
	}
	for _, test := range tests {
		t.Run(test.header, func(t *testing.T) {
			p := contentOf(t, test.header+"\r\n\r\n", Limits{}).Root()
			if len(p.Names) == 0 || p.Names[0] != test.name && !strings.ContainsRune(test.name, '\ufffd') {
				t.Errorf("names %q", p.Names)
			}
			if test.also != "" && !slices.Contains(p.Names, test.also) {
				t.Errorf("names %q without %q", p.Names, test.also)
			}
			if p.Has(UnknownCharset) != test.unclear {
				t.Errorf("defects %v", p.Defects)
			}
		})
	}
}

func TestCharsetsOfParts(t *testing.T) {
	many := "Content-Type: text/plain"
	for i := range 20 {
		many += fmt.Sprintf("; charset=c%d", i)
	}
	tests := []struct {
		header, want string
		all          bool
	}{
		{"Subject: x", "", true},
		{`Content-Type: text/plain; charset="UTF-16"`, "utf-16", true},
		{"Content-Type: text/plain; charset=a; charset=B; charset*=us-ascii''c", "a b c us-ascii''c", true},
		{"Content-Type: text/plain; charset=a\r\nContent-Type: text/plain; charset=b", "a b", true},
		{"Content-Type: text/plain; charset*0=utf; charset*1=-7", "utf-7", true},
		{"Content-Type: text/plain; charset=(x)utf-7", "utf-7 (x)utf-7", true},
		{many, "c0 c1 c2 c3 c4 c5", false},
	}
	for _, test := range tests {
		got, all := contentOf(t, test.header+"\r\n\r\n", Limits{}).Root().Charsets()
		if strings.Join(got, " ") != test.want || all != test.all {
			t.Errorf("%s: got %q, %v", test.header, got, all)
		}
	}
}
