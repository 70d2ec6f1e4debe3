package eval

import "testing"

func TestHTML(t *testing.T) {
	html := func(s string) string { return "Subject: abcd\nContent-Type: text/html\n\n" + s }
	calls(t, "tags", html("<html><body><b>x</b><p>y"), call{"html_tag_exists body", 1}, call{"html_tag_exists img", 0},
		call{"html_tag_balance|body|> 0", 1}, call{"html_tag_balance|b|== 0", 1}, call{"html_tag_balance|b|!= 0", 0}, call{"html_tag_balance|img|== 0", 0},
		call{"html_eval|length|< 100", 1}, call{"html_eval|length|>= 100", 0}, call{"html_test|embeds", 0})
	calls(t, "no HTML", "Subject: a\n\n<img>\n", call{"html_tag_exists img", 0}, call{"html_eval|length|< 100", 0}, call{"html_range length 0", 0})
	calls(t, "an image", html("<img width=10 height=20>abc"), call{"html_image_only 0 400", 1}, call{"html_image_only 400 800", 0},
		call{"html_image_ratio 0.01 0.02", 1}, call{"html_image_ratio 0.02 1", 0})
	calls(t, "facts", html("<object></object><title>Buy now</title><!-- a remark -->"), call{"html_test embeds", 1}, call{"html_text_match|title|^Buy", 1},
		call{"html_text_match|title|^buy", 0}, call{"html_text_match|comment|remark", 1}, call{"html_text_not_match|title|^Buy", 0},
		call{"html_range html_length -1 inf", 1}, call{"html_range no_such_fact 0", 0})
	calls(t, "a long title", html("<title>1234567890</title>"), call{"html_title_subject_ratio 1.9", 1}, call{"html_title_subject_ratio 2", 0})
	calls(t, "no subject", "Content-Type: text/html\n\n<title>1234567890</title>", call{"html_title_subject_ratio 0", 0})
	calls(t, "a frame", html("<iframe src='http://a.test/'></iframe>"), call{"check_iframe_src", 1})
	calls(t, "a link", html("<a href='http://a.test/'>iframe</a>"), call{"check_iframe_src", 0})
}
