#!/usr/bin/perl
# What SpamAssassin thinks of letters, by its own tests alone, without the network: prints for each file its score, the rules that
# it met, and its name.
use strict;
use warnings;
use Mail::SpamAssassin;

my $judge = Mail::SpamAssassin->new({ local_tests_only => 1, dont_copy_prefs => 1, userprefs_filename => "/dev/null" });
$judge->init(1);
for my $path (@ARGV) {
    open my $file, "<:raw", $path or die "$path: $!";
    my $letter = $judge->parse(do { local $/; <$file> });
    my $status = $judge->check($letter);
    printf "%.1f\t%s\t%s\n", $status->get_score, $status->get_names_of_tests_hit || "none", $path;
    $status->finish;
    $letter->finish;
}
