package eval

import (
	"strings"
	"testing"
)

func TestAlternativesDiffer(t *testing.T) {
	alternative := func(plain, html string) string {
		return "Content-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/plain\n\n" + plain + "\n--a\nContent-Type: text/html\n\n" + html + "\n--a--\n"
	}
	calls(t, "the same", alternative("one two three", "<p>one <b>two</b> three"), call{"multipart_alternative_difference 0 0", 1},
		call{"multipart_alternative_difference 1 100", 0}, call{"multipart_alternative_difference_count 0.9 2", 1},
		call{"multipart_alternative_difference_count 0.9 3", 0})
	calls(t, "half", alternative("one two", "one two three four"), call{"multipart_alternative_difference 49 50", 1})
	calls(t, "an image in place of text", alternative("one two", "<img src=a>"), call{"multipart_alternative_difference 99 100", 1})
	calls(t, "signs are no words", alternative("one", "one * - *"), call{"multipart_alternative_difference 0 0", 1})
	calls(t, "an invitation", "Content-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/html\n\nx\n--a\nContent-Type: text/calendar\n\ny\n--a--\n",
		call{"multipart_alternative_difference 1 undef", 0})
	calls(t, "no alternative", "Subject: a\n\nb\n", call{"multipart_alternative_difference 0 undef", 1}, call{"multipart_alternative_difference 1 undef", 0})
}

func TestLinesAndSpaces(t *testing.T) {
	calls(t, "blank lines", "Subject: a\n\nb\n \nc\n\n", call{"check_blank_line_ratio 49 50", 1}, call{"check_blank_line_ratio 50 100", 0},
		call{"check_blank_line_ratio 49 50 5", 0})
	calls(t, "vertical words", "Subject: a\n\na b c d e f\n", call{"tvd_vertical_words 100 100", 1}, call{"tvd_vertical_words 0 10", 0})
	calls(t, "long words", "Subject: abcdefghi\n\nabcdefghijklmn opqrstuvwxyz\n", call{"tvd_vertical_words 0 10", 1})
	calls(t, "a share tip", "Subject: a\n\nCompany Name: X\n Current Price : 1\nTicker: Y\n", call{"check_stock_info 3", 1}, call{"check_stock_info 4", 0})
}

func TestSignatures(t *testing.T) {
	calls(t, "a signature", "Subject: a\n\n1234\n-- \nabcdefg\n", call{"plaintext_body_length 5 5", 1}, call{"plaintext_sig_length 9 9", 1},
		call{"plaintext_body_sig_ratio 0.5 0.6", 1})
	calls(t, "none", "Subject: a\n\n1234\n", call{"plaintext_sig_length 0 0", 1}, call{"plaintext_body_sig_ratio 1000000", 1})
	calls(t, "a mark at the end", "Subject: a\n\n1234\n-- \n\n", call{"plaintext_sig_length 0 0", 1})
	calls(t, "no plain text", "Content-Type: image/png\n\n1234\n", call{"plaintext_body_length 0", 0})
}

func TestImages(t *testing.T) {
	image := func(kind, base64 string) string {
		return "--a\nContent-Type: image/" + kind + "; name=x." + kind + "\nContent-Transfer-Encoding: base64\n\n" + base64 + "\n"
	}
	message := "Content-Type: multipart/mixed; boundary=a\n\n--a\n\n" + strings.Repeat("x", 98) + "\n" +
		image("gif", "R0lGODlhAwACAIAAAAAAAP///w==") + // 3 wide, 2 high
		image("png", "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAECAYAAAAAAAAA") + // 5 by 4
		image("jpg", "/9j/4AAEAAD/wAALCAAHAAYBAREA") + // 6 by 7
		image("gif", "bm9uZQ==") +
		"--a\nContent-Type: image/gif\n\nR0lGODlhAwACAIAAAAAAAP///w==\n--a--\n"
	calls(t, "images", message, call{"image_count gif 2 2", 1}, call{"image_count png 1 1", 1}, call{"image_count jpeg 1 1", 1}, call{"image_count all 4 4", 1},
		call{"image_count all 5", 0}, call{"pixel_coverage gif 6 6", 1}, call{"pixel_coverage all 68 68", 1}, call{"image_size_exact png 4 5", 1},
		call{"image_size_exact png 5 4", 0}, call{"image_size_range all 7 6 7 6", 1}, call{"image_size_range all 8 1", 0}, call{"image_named x.png", 1},
		call{"image_named y.png", 0}, call{`image_name_regex /^X\.P/i`, 1}, call{`image_name_regex ^X`, 0}, call{"image_to_text_ratio all 1 2", 1},
		call{"image_to_text_ratio all 2 3", 0})
	check, err := RawBody()["image_to_text_ratio"].Compile(&Settings{}, []string{"all", "2", "3"})
	if err != nil {
		t.Fatal(err)
	}
	long := mailOf(t, strings.Replace(message, "Content-Type: multipart/mixed; boundary=a\n\n--a\n\n",
		"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/html\n\n<!-- "+strings.Repeat("y", 68)+" -->", 1))
	if n, _ := check(long); n != 1 {
		t.Error("what is not rendered is no raw text")
	}
}
