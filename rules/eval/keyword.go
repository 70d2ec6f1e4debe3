package eval

import "strings"

// KeywordOf names the keyword by which rules call one of SpamAssassin's functions there, "" where it takes any. Body stands for rawbody, too.
func KeywordOf(function string) string {
	switch {
	case ofBody[function]:
		return "body"
	case ofFull[function]:
		return "full"
	case ofAny[function], strings.HasPrefix(function, "postern_"), strings.HasPrefix(function, "check_hashbl_"):
		return ""
	}
	return "header"
}

var (
	ofBody = nameSet(`check_abundant_unicode_ratio check_base64_length check_bayes check_blank_line_ratio check_body_8bits check_body_length
		check_for_ascii_text_illegal check_for_faraway_charset check_for_mime check_for_mime_html check_for_mime_html_only check_for_uppercase
		check_https_http_mismatch check_iframe_src check_ma_non_text check_microsoft_executable check_mime_multipart_ratio check_qp_ratio
		check_stock_info check_suspect_name html_charset_faraway html_eval html_image_only html_image_ratio html_range html_tag_balance
		html_tag_exists html_test html_text_match html_text_not_match html_title_subject_ratio image_count image_name_regex image_named
		image_size_exact image_size_range image_to_text_ratio multipart_alternative_difference multipart_alternative_difference_count
		pixel_coverage plaintext_body_length plaintext_body_sig_ratio plaintext_sig_length tvd_vertical_words`)
	ofFull = nameSet(`check_arc_signed check_arc_valid check_dkim_dependable check_dkim_signed check_dkim_valid check_dkim_valid_author_sig
		check_dkim_valid_envelopefrom check_pyzor check_razor2 check_razor2_range`)
	ofAny = nameSet(`check_all_trusted check_dkim_signall check_dkim_signsome check_dkim_verified check_for_forged_received_ip_helo
		check_for_forged_received_trail check_for_http_redirector check_for_illegal_ip check_for_no_rdns_dotcom_helo check_for_numeric_helo
		check_for_sender_no_reverse check_https_ip_mismatch check_msg_parse_flags check_no_relays check_relays_unparseable check_uri_detail check_uri_host_in_blacklist
		check_uri_host_in_blocklist check_uri_host_in_welcomelist check_uri_host_in_whitelist check_uri_truncated check_uridnsbl
		check_welcomelist_bounce_relays check_whitelist_bounce_relays have_any_bounce_relays helo_ip_mismatch`)
)

func nameSet(s string) map[string]bool {
	all := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		all[w] = true
	}
	return all
}
