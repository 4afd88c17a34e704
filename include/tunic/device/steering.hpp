// SPDX-License-Identifier: BSL-1.0
#pragma once

// Telling Linux which queue of a TUN interface a packet belongs to: `flow_hash` as a program of
// extended BPF, put into the kernel by bpf(2) and TUNSETSTEERINGEBPF (Linux 4.16), where its
// result modulo the number of queues chooses. Without, the driver remembers for each flow the queue
// that the program last wrote it on, and forgets that within seconds of quiet (TUN_FLOW_EXPIRE in
// tun.c), after which its own hash decides: a quiet flow comes back on another queue.

#include <tunic/base/siphash.hpp>
#include <tunic/device/flow_hash.hpp>
#include <tunic/device/system.hpp>
#include <tunic/device/tun_framing.hpp>
#include <tunic/device/tun_options.hpp>
#include <tunic/wire/ip_protocol.hpp>
#include <tunic/wire/ipv4.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <linux/bpf.h>
#include <linux/if_tun.h>

namespace tunic::inline v0::detail {

// Instructions (Documentation/bpf/standardization/instruction-set.rst). r0 to r9 are numbers here.

constexpr bpf_insn bpf_instruction(unsigned code, unsigned dst, unsigned src, int off,
                                   std::uint64_t imm) noexcept {
  bpf_insn instruction{};
  instruction.code = static_cast<std::uint8_t>(code);
  instruction.dst_reg = dst & 0xf;
  instruction.src_reg = src & 0xf;
  instruction.off = static_cast<std::int16_t>(off);
  instruction.imm = static_cast<std::int32_t>(static_cast<std::uint32_t>(imm));
  return instruction;
}
/// dst = dst (operation) src, or imm
constexpr bpf_insn bpf_alu(unsigned operation, unsigned dst, unsigned src) noexcept {
  return bpf_instruction(BPF_ALU64 | BPF_X | operation, dst, src, 0, 0);
}
constexpr bpf_insn bpf_alu_imm(unsigned operation, unsigned dst, std::uint32_t imm) noexcept {
  return bpf_instruction(BPF_ALU64 | BPF_K | operation, dst, 0, 0, imm);
}
/// Skips `skip` instructions if dst (condition) imm.
constexpr bpf_insn bpf_jump(unsigned condition, unsigned dst, std::uint32_t imm,
                            int skip) noexcept {
  return bpf_instruction(BPF_JMP | BPF_K | condition, dst, 0, skip, imm);
}
/// r0 = bytes of the packet, in network order; the program ends with 0 when they are not there. The
/// packet is that of the context in r6; r1 to r5 are lost.
constexpr bpf_insn bpf_load_packet(unsigned size, std::uint32_t at) noexcept {
  return bpf_instruction(BPF_LD | BPF_ABS | size, 0, 0, 0, at);
}
constexpr bpf_insn bpf_load_packet_at(unsigned size, unsigned reg) noexcept {
  return bpf_instruction(BPF_LD | BPF_IND | size, 0, reg, 0, 0);
}
/// dst = 64 bits, in two instructions.
constexpr bpf_insn bpf_load_low(unsigned dst, std::uint64_t value) noexcept {
  return bpf_instruction(BPF_LD | BPF_DW, dst, 0, 0, value & 0xffffffff);  // BPF_IMM is 0
}
constexpr bpf_insn bpf_load_high(std::uint64_t value) noexcept {
  return bpf_instruction(0, 0, 0, 0, value >> 32);
}

/// `flow_hash` for the kernel: a program of the type BPF_PROG_TYPE_SOCKET_FILTER, which on a TUN
/// interface sees a packet from its IP header on. It has no loop.
[[nodiscard]] constexpr auto steering_program(const SipKey& key) noexcept {
  constexpr unsigned context = 6, src = 7, dst = 8, header = 9;
  constexpr std::uint32_t has_fragments = ipv4_more_fragments | ipv4_offset_mask;
  const std::uint64_t key_multiplier = key.k1 | 1;
  return std::array{
      bpf_alu(BPF_MOV, context, 1),
      bpf_load_packet(BPF_B, 0),  // version and header length
      bpf_alu(BPF_MOV, header, 0),
      bpf_alu_imm(BPF_RSH, 0, 4),
      bpf_jump(BPF_JEQ, 0, 4, 2),
      bpf_alu_imm(BPF_MOV, 0, 0),
      bpf_instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
      bpf_alu_imm(BPF_AND, header, 15),
      bpf_alu_imm(BPF_LSH, header, 2),
      bpf_load_packet(BPF_W, offsetof(Ipv4Layout, src)),
      bpf_alu(BPF_MOV, src, 0),
      bpf_alu_imm(BPF_LSH, src, 16),
      bpf_load_packet(BPF_W, offsetof(Ipv4Layout, dst)),
      bpf_alu(BPF_MOV, dst, 0),
      bpf_alu_imm(BPF_LSH, dst, 16),
      // Ports, where there are.
      bpf_load_packet(BPF_H, offsetof(Ipv4Layout, flags_and_offset)),
      bpf_alu_imm(BPF_AND, 0, has_fragments),
      bpf_jump(BPF_JNE, 0, 0, 9),
      bpf_load_packet(BPF_B, offsetof(Ipv4Layout, protocol)),
      bpf_jump(BPF_JEQ, 0, static_cast<std::uint32_t>(IpProtocol::tcp), 1),
      bpf_jump(BPF_JNE, 0, static_cast<std::uint32_t>(IpProtocol::udp), 6),
      bpf_load_packet_at(BPF_W, header),
      bpf_alu(BPF_MOV, 1, 0),
      bpf_alu_imm(BPF_RSH, 1, 16),
      bpf_alu(BPF_OR, src, 1),
      bpf_alu_imm(BPF_AND, 0, 0xffff),
      bpf_alu(BPF_OR, dst, 0),
      // mix_flow_end, for both.
      bpf_load_low(1, key.k0),
      bpf_load_high(key.k0),
      bpf_load_low(2, key_multiplier),
      bpf_load_high(key_multiplier),
      bpf_load_low(3, flow_multiplier),
      bpf_load_high(flow_multiplier),
      bpf_alu(BPF_XOR, src, 1),
      bpf_alu(BPF_MUL, src, 2),
      bpf_alu(BPF_MOV, 4, src),
      bpf_alu_imm(BPF_RSH, 4, 32),
      bpf_alu(BPF_XOR, src, 4),
      bpf_alu(BPF_MUL, src, 3),
      bpf_alu(BPF_MOV, 4, src),
      bpf_alu_imm(BPF_RSH, 4, 32),
      bpf_alu(BPF_XOR, src, 4),
      bpf_alu(BPF_XOR, dst, 1),
      bpf_alu(BPF_MUL, dst, 2),
      bpf_alu(BPF_MOV, 4, dst),
      bpf_alu_imm(BPF_RSH, 4, 32),
      bpf_alu(BPF_XOR, dst, 4),
      bpf_alu(BPF_MUL, dst, 3),
      bpf_alu(BPF_MOV, 4, dst),
      bpf_alu_imm(BPF_RSH, 4, 32),
      bpf_alu(BPF_XOR, dst, 4),
      // join_flow_ends.
      bpf_alu(BPF_ADD, src, dst),
      bpf_alu(BPF_MUL, src, 3),
      bpf_alu_imm(BPF_RSH, src, 32),
      bpf_alu(BPF_MOV, 0, src),
      bpf_instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
}

/// bpf(2) takes addresses as numbers.
inline std::uint64_t bpf_address(const void* pointer) noexcept {
  return std::bit_cast<std::uintptr_t>(pointer);
}

/// Hands the program to the kernel; its descriptor, or the negative errno of a kernel that does not
/// take programs from us (CAP_BPF, or kernel.unprivileged_bpf_disabled=0).
template <System S>
int load_steering_program(S& system, const SipKey& key) noexcept {
  const auto program = steering_program(key);
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = bpf_address(program.data());
  attributes.insn_cnt = static_cast<std::uint32_t>(program.size());
  attributes.license = bpf_address("");
  int answer = -EAGAIN;  // the verifier's answer to a signal
  for (int tries = 0; answer == -EAGAIN && tries < 5; ++tries) {
    answer = retry_interrupted(
        [&]() noexcept { return system.bpf(BPF_PROG_LOAD, &attributes, sizeof attributes); });
  }
  return answer;
}

/// Steers the interface behind `tun_fd` by `flow_hash`. The call that was refused, after which the
/// driver goes on by its own rules, or none.
template <System S>
TunFailure steer_by_flow_hash(S& system, int tun_fd, const SipKey& key) noexcept {
  int program = load_steering_program(system, key);
  if (program < 0) return {"bpf", -program};
  const int answer = retry_interrupted(
      [&]() noexcept { return system.ioctl(tun_fd, TUNSETSTEERINGEBPF, &program); });
  system.close(program);  // the interface holds it
  return answer < 0 ? TunFailure{"TUNSETSTEERINGEBPF", -answer} : TunFailure{};
}

}  // namespace tunic::inline v0::detail
