#!/usr/bin/perl
# Says, for each message on standard input, what the installed SpamAssassin makes of it: one line of JSON each. A message
# comes as its size in octets on a line of its own, and its octets. Texts are given in base64, since they are octets.
#
# usage: textdump.pl RULES-FOLDER < messages > lines
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my $rules = shift;
my $sa = Mail::SpamAssassin->new({
  rules_filename       => $rules,
  site_rules_filename  => '/dev/null',
  userprefs_filename   => '/dev/null',
  dont_copy_prefs      => 1,
  local_tests_only     => 1,
  home_dir_for_helpers => '/nonexistent',
  userstate_dir        => '/nonexistent',
});
$sa->init(0);

my $json = JSON::PP->new->canonical->ascii;

# octets of a string, be it of characters or of octets
sub octets {
  my $s = shift;
  return undef unless defined $s;
  utf8::encode($s) if utf8::is_utf8($s);
  return encode_base64($s, '');
}

sub octets_of { return [map { octets($_) } @{ $_[0] || [] }] }

# facts of one rendered part
sub facts {
  my $h = shift;
  return {} unless $h;
  my (%number, %text, %link);
  for my $k (keys %$h) {
    my $v = $h->{$k};
    if    (!defined $v)         { }
    elsif ($k eq 'uri')         { }
    elsif (ref $v eq 'ARRAY')   { $text{$k} = octets_of($v) }
    elsif (!ref $v)             { $number{$k} = $v }
  }
  for my $u (keys %{ $h->{uri_detail} || {} }) {
    my $d = $h->{uri_detail}{$u};
    $link{ octets($u) } = { types => [sort keys %{ $d->{types} || {} }], anchors => octets_of($d->{anchor_text}) };
  }
  my %inside = map { octets($_) => $h->{inside}{$_} } keys %{ $h->{inside} || {} };
  return { number => \%number, text => \%text, inside => \%inside, link => \%link };
}

binmode STDIN;
$| = 1;
while (defined(my $size = <STDIN>)) {
  chomp $size;
  my ($raw, $got) = ('', 0);
  while ($got < $size) {
    my $n = read(STDIN, $raw, $size - $got, $got);
    die "cut short" unless $n;
    $got += $n;
  }
  my $msg = $sa->parse($raw, 1);
  my $pms = Mail::SpamAssassin::PerMsgStatus->new($sa, $msg);
  $pms->extract_message_metadata();

  my %uri;
  my $detail = $pms->get_uri_detail_list();
  for my $u (keys %$detail) {
    my $d = $detail->{$u};
    $uri{ octets($u) } = {
      types   => [sort keys %{ $d->{types} || {} }],
      cleaned => [sort map { octets($_) } @{ $d->{cleaned} || [] }],
      anchors => octets_of($d->{anchor_text}),
      hosts   => { map { octets($_) => octets($d->{hosts}{$_}) } keys %{ $d->{hosts} || {} } },
    };
  }
  print $json->encode({
    body      => octets_of($pms->get_decoded_stripped_body_text_array()),
    rawbody   => octets_of($pms->get_decoded_body_text_array()),
    visible   => octets_of($msg->get_visible_rendered_body_text_array()),
    invisible => octets_of($msg->get_invisible_rendered_body_text_array()),
    full      => octets($msg->get_pristine()),
    uris      => [sort map { octets($_) } $pms->get_uri_list()],
    uri       => \%uri,
    html      => [map { facts($_) } @{ $pms->{html_all} || [] }],
    truncated => $pms->{uri_truncated} ? 1 : 0,
  }), "\n";
  $pms->finish();
  $msg->finish();
}
