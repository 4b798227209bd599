//! The texts as people see them, one file for each mistake.

use super::{refused, rendered, with_addresses};

macro_rules! golden {
    ($($name:ident => $text:expr,)+) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), rendered(&refused(&$text), "metallb-system/config", &$text));
            }
        )+
    };
}

fn pool(lines: &str) -> String {
    with_addresses(&["192.168.64.10-192.168.64.20"]) + lines
}

golden! {
    a_reversed_range_is_swapped => with_addresses(&["192.168.64.20-192.168.64.10"]),
    a_shortened_end_is_written_out => with_addresses(&["192.168.64.10-20"]),
    an_overlap_names_the_other_pool_and_line =>
        pool("- name: other\n  protocol: layer2\n  addresses:\n  - 192.168.64.16/28\n"),
    an_address_inside_another_entry_is_superfluous => with_addresses(&["192.168.64.0/24", "192.168.64.7"]),
    a_misspelt_key_is_recognised => "address-pools:\n- name: default\n  protocol: layer2\n  adresses:\n  - 192.168.64.4/32\n",
    a_key_of_the_newer_schema_is_recognised => pool("  autoAssign: false\n"),
    a_duplicate_key_points_at_both => pool("  auto-assign: false\n  auto-assign: true\n"),
    a_tab_is_found_on_every_line => "address-pools:\n- name: default\n\tprotocol: layer2\n\taddresses:\n  - 10.0.0.1\n",
    wrong_indentation_is_a_syntax_error => "address-pools:\n- name: default\n  protocol: layer2\n addresses:\n  - 10.0.0.1\n",
    an_entry_without_a_blank_is_a_syntax_error => "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  -192.168.64.4/32\n",
    a_number_above_255_is_named => with_addresses(&["192.168.300.0/24"]),
    a_bad_prefix_says_the_limit => with_addresses(&["192.168.64.0/33"]),
    a_netmask_becomes_a_prefix => with_addresses(&["192.168.64.0/255.255.255.240"]),
    families_do_not_mix => with_addresses(&["192.168.64.10-fd00::20"]),
    addresses_without_a_list => "address-pools:\n- name: default\n  protocol: layer2\n  addresses: 192.168.64.0/28\n",
    an_unknown_protocol_is_corrected => "address-pools:\n- name: default\n  protocol: layer-2\n  addresses: [10.0.0.1]\n",
    advertisements_need_protocol_bgp => pool("  bgp-advertisements:\n  - localpref: 100\n"),
    a_quoted_truth_value => pool("  auto-assign: \"false\"\n"),
    a_missing_profile => "peers:\n- my-asn: 64512\n  peer-asn: 64513\n  peer-address: 10.0.0.1\n  bfd-profile: fsat\nbfd-profiles:\n- name: fast\n",
    a_password_is_masked => "peers:\n- my-asn: 64512\n  peer-asn: 64513\n  peer-address: 10.0.0.1\n  pasword: höchst geheim\n",
    a_half_filled_template_has_no_end => with_addresses(&["192.168.64.10-"]),
    template_text_was_not_filled_in => with_addresses(&["{{START}}-{{END}}"]),
    several_problems_come_at_once => "address-pools:\n- name: ''\n  protocol: l2\n  addresses:\n  - 10.0.0.9-10.0.0.1\n  - nowhere\n  color: red\nextra: 1\n",
}
