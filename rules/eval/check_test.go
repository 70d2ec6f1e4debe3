package eval

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// mailOf makes a Mail of a message with LF line ends.
func mailOf(t testing.TB, s string) *Mail {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(s, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return &Mail{Text: text.Of(c, text.Options{})}
}

// call is the call of a function that is to give a value.
type call struct {
	function string // with its arguments, separated by blanks or "|"
	want     int
}

// calls checks what functions make of a message.
func calls(t *testing.T, name, message string, all ...call) {
	t.Helper()
	m := mailOf(t, message)
	for _, c := range all {
		if got := value(t, m, &Settings{}, c.function); got != c.want {
			t.Errorf("%s: %s is %d", name, c.function, got)
		}
	}
}

func value(t *testing.T, m *Mail, s *Settings, function string) int {
	t.Helper()
	args := strings.Fields(function)
	if strings.Contains(function, "|") {
		args = strings.Split(function, "|")
	}
	f, ok := Functions()[args[0]]
	if !ok {
		t.Fatalf("there is no %s", args[0])
	}
	check, err := f.Compile(s, args[1:])
	if err != nil {
		t.Fatalf("%s: %v", function, err)
	}
	v, _ := check(m)
	return v
}

func TestBadArguments(t *testing.T) {
	for _, bad := range []string{
		"check_for_mime", "check_for_mime no_such", "check_msg_parse_flags x", "check_for_mime_html x", "check_base64_length a",
		"check_body_length", "check_body_length x", "image_count", "image_count tiff 1", "image_size_exact gif 1", "image_size_range gif x",
		"image_named", "image_name_regex (", "html_tag_exists", "html_tag_balance body", "html_tag_balance|body|system(1)", "html_eval length 3",
		"html_range length", "html_range length x", "html_text_match title (", "html_text_match title", "check_stock_info x",
		"multipart_alternative_difference x", "tvd_vertical_words x",
	} {
		args := strings.Fields(bad)
		if strings.Contains(bad, "|") {
			args = strings.Split(bad, "|")
		}
		if _, err := Functions()[args[0]].Compile(&Settings{}, args[1:]); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
